package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

func newCas(con *console) *cobra.Command {
	var to target
	var format string
	var absent bool
	cmd := &cobra.Command{
		Use: "cas KEY OLD NEW", GroupID: groupData,
		Short:   "Set a key if it holds what is expected",
		Long:    "Compare and set, as one step: set KEY to NEW if its value is OLD; with --absent instead of OLD,\nif there is no such key. Exits 4 if the condition does not hold.",
		Example: examples("dnode cas hello world there", "dnode cas --absent lock me"),
		Args: func(cmd *cobra.Command, args []string) error {
			if absent {
				return takes("KEY NEW")(cmd, args)
			}
			return takes("KEY OLD NEW")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			condition := client.Absent()
			if !absent {
				condition = client.ValueIs([]byte(args[1]))
			}
			value, err := valueArg(con, args[len(args)-1])
			if err != nil {
				return err
			}
			return to.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				rev, err := c.CompareAndSet(ctx, args[0], condition, value)
				if err != nil {
					return err
				}
				return written(con, format, args[0], rev)
			})
		},
	}
	cmd.Flags().BoolVar(&absent, "absent", false, "the key must not exist; give no OLD")
	to.addFlags(cmd)
	addFormat(cmd, &format)
	return cmd
}

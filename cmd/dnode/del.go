package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

func newDel(con *console) *cobra.Command {
	var to target
	var format string
	cmd := &cobra.Command{
		Use: "del KEY", GroupID: groupData, Args: takes("KEY"),
		Short:   "Remove a key",
		Long:    "Remove a key. A key that is not there exits 3.",
		Example: examples("dnode del hello", "dnode del -o json hello"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return to.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				rev, existed, err := c.Delete(ctx, args[0])
				if err != nil {
					return err
				}
				if !existed {
					return missing("delete", args[0])
				}
				return written(con, format, args[0], rev)
			})
		},
	}
	to.addFlags(cmd)
	addFormat(cmd, &format)
	return cmd
}

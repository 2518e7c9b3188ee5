package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

func newPut(con *console) *cobra.Command {
	var to target
	var format string
	cmd := &cobra.Command{
		Use: "put KEY VALUE", GroupID: groupData, Args: takes("KEY VALUE"),
		Short:   "Set a key",
		Long:    "Set a key. It returns when a majority of the nodes has the write on disk. The value - is read\nfrom stdin, as exact bytes.",
		Example: examples("dnode put hello world", "dnode put config - < settings.json", "dnode put -e 127.0.0.1:7400,127.0.0.1:7410 hello world"),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := valueArg(con, args[1])
			if err != nil {
				return err
			}
			return to.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				rev, err := c.Put(ctx, args[0], value)
				if err != nil {
					return err
				}
				return written(con, format, args[0], rev)
			})
		},
	}
	to.addFlags(cmd)
	addFormat(cmd, &format)
	return cmd
}

func addFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().VarP(oneOf(format, asTable, asJSON, asRaw), "output", "o", "how to print")
}

// maxValueBytes is more than a value may have: a command, that is key and value,
// has at most so many.
const maxValueBytes = 1 << 20

// valueArg returns a value given as an argument, or stdin for "-".
func valueArg(con *console, arg string) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	value, err := io.ReadAll(io.LimitReader(con.in, maxValueBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the value from stdin: %w", err)
	}
	if len(value) > maxValueBytes {
		return nil, usagef("the value on stdin is larger than %d bytes: no value can be", maxValueBytes)
	}
	return value, nil
}

// written prints the outcome of a write. As raw output it has none.
func written(con *console, format, key string, rev client.Revision) error {
	switch format {
	case asJSON:
		return writeJSON(con.out, struct {
			Key      text            `json:"key"`
			Revision client.Revision `json:"revision"`
		}{text(key), rev})
	case asTable:
		_, err := fmt.Fprintln(con.out, "ok")
		return err
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

func newGet(con *console) *cobra.Command {
	var from target
	var level level
	var format string
	cmd := &cobra.Command{
		Use: "get KEY", GroupID: groupData, Args: takes("KEY"),
		Short:   "Print the value of a key",
		Long:    "Print the value of a key: with a newline behind it, with -o raw the exact bytes. A key that is\nnot there exits 3.",
		Example: examples("dnode get hello", "dnode get -o json hello", "dnode get --consistency stale -e 127.0.0.1:7410 hello"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return from.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				it, err := c.Get(ctx, args[0], level.options(&from))
				if errors.Is(err, client.ErrNotFound) {
					return missing("get", args[0])
				}
				if err != nil {
					return err
				}
				return printItem(con, format, it)
			})
		},
	}
	from.addFlags(cmd)
	level.addFlag(cmd)
	addFormat(cmd, &format)
	return cmd
}

func missing(op, key string) error {
	return fmt.Errorf("cannot %s %q: %w", op, key, client.ErrNotFound)
}

func printItem(con *console, format string, it client.Item) error {
	if format == asJSON {
		return writeJSON(con.out, asItem(it))
	}
	if format == asTable {
		it.Value = append(it.Value, '\n')
	}
	_, err := con.out.Write(it.Value)
	return err
}

// item is a key in JSON.
type item struct {
	Key            text            `json:"key"`
	Value          text            `json:"value"`
	CreateRevision client.Revision `json:"create_revision"`
	ModRevision    client.Revision `json:"mod_revision"`
	Version        uint64          `json:"version"`
}

func asItem(it client.Item) item {
	return item{text(it.Key), text(it.Value), it.CreateRevision, it.ModRevision, it.Version}
}

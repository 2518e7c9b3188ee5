package main

import (
	"bufio"
	"context"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
)

func newScan(con *console) *cobra.Command {
	var from target
	var level level
	var format string
	var limit int
	var keysOnly bool
	cmd := &cobra.Command{
		Use: "scan [PREFIX]", GroupID: groupData,
		Short:   "Print the keys that begin with a prefix",
		Long:    "Print keys and values in key order, KEY TAB VALUE, for all keys that begin with PREFIX or for all.\nEvery page of about a megabyte is as of one revision, a later page of a later one. --timeout counts\nfor each page.",
		Example: examples("dnode scan user/", "dnode scan -o json user/", "dnode scan --keys-only --limit 10"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return takes("[PREFIX]")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usagef("--limit %d: it must not be negative; zero means all", limit)
			}
			r := client.Range{Limit: limit, KeysOnly: keysOnly, ReadOptions: level.options(&from)}
			if len(args) > 0 {
				r.Prefix = args[0]
			}
			return from.scan(cmd.Context(), r, newPrinter(con, format, keysOnly))
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "print at most so many keys; 0 prints all")
	cmd.Flags().BoolVar(&keysOnly, "keys-only", false, "print no values")
	from.addFlags(cmd)
	level.addFlag(cmd)
	addFormat(cmd, &format)
	return cmd
}

// scan prints a range page by page.
func (t *target) scan(ctx context.Context, r client.Range, p *printer) error {
	opening, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	c, err := t.open(opening)
	if err != nil {
		return err
	}
	defer c.Close()
	for limit := r.Limit; ; {
		page, err := t.page(ctx, c, r)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			if err := p.item(it); err != nil {
				return err
			}
		}
		r.Start, r.Limit = page.Next, r.Limit-len(page.Items)
		if !page.More || limit > 0 && r.Limit <= 0 {
			return p.end()
		}
		r.Limit = max(r.Limit, 0)
	}
}

func (t *target) page(ctx context.Context, c *client.Client, r client.Range) (client.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return c.ScanPage(ctx, r)
}

// printer writes the items of a scan as they come.
type printer struct {
	out      *bufio.Writer
	format   string
	keysOnly bool
	count    int
}

func newPrinter(con *console, format string, keysOnly bool) *printer {
	return &printer{out: bufio.NewWriterSize(con.out, 64<<10), format: format, keysOnly: keysOnly}
}

func (p *printer) item(it client.Item) error {
	p.count++
	if p.format == asJSON {
		return p.jsonItem(it)
	}
	p.out.WriteString(it.Key)
	if !p.keysOnly {
		p.out.WriteByte('\t')
		p.out.Write(it.Value)
	}
	return p.out.WriteByte('\n')
}

func (p *printer) jsonItem(it client.Item) error {
	p.out.WriteString(separator(p.count))
	var v any = asItem(it)
	if p.keysOnly {
		v = struct {
			Key text `json:"key"`
		}{text(it.Key)}
	}
	line, err := encodeJSON(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(line)
	return err
}

func (p *printer) end() error {
	if p.format == asJSON {
		if p.count == 0 {
			p.out.WriteByte('[')
		}
		p.out.WriteString("]\n")
	}
	return p.out.Flush()
}

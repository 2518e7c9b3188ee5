package main

import (
	"bufio"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
)

func newWal(con *console) *cobra.Command {
	return family("wal", groupDiagnose, "Look into a data folder, offline", newWalLs(con), newWalVerify(con), newWalDump(con))
}

func newWalLs(con *console) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "ls DIR", Args: takes("DIR"),
		Short:   "List the files of a data folder",
		Long:    "List the files of a data folder and what each holds. The node must be stopped.",
		Example: examples("dnode wal ls dnode-data", "dnode wal ls -o json dnode-data"),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := listWal(args[0])
			if len(files) == 0 {
				return err
			}
			if format == asJSON {
				return errors.Join(writeJSON(con.out, files), err)
			}
			w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "FILE\tBYTES\tGROUPS\tFIRST\tLAST\tWHAT")
			for _, f := range files {
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", f.File, f.Bytes, f.Groups, f.First, f.Last, f.Text)
			}
			return errors.Join(w.Flush(), err)
		},
	}
	cmd.Flags().VarP(oneOf(&format, asTable, asJSON), "output", "o", "how to print")
	return cmd
}

func newWalVerify(con *console) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "verify DIR", Args: takes("DIR"),
		Short:   "Check every record of a data folder",
		Long:    "Check every record of a data folder, as a start of the node would, and change nothing. Like ls and\ndump it exits 9 if the node would refuse to start, or may have forgotten a vote. The node must be stopped.",
		Example: examples("dnode wal verify dnode-data", "dnode wal verify -o json dnode-data"),
		RunE: func(_ *cobra.Command, args []string) error {
			out := newRecords(con, format)
			return out.end(inspect(args[0], func(r *wal.Record) error {
				if r.Kind == wal.KindVerdict || r.Kind == wal.KindDamage || r.Kind == wal.KindFence || r.Kind == wal.KindSlot || r.Corrupt {
					return out.show(r)
				}
				return nil
			}))
		},
	}
	cmd.Flags().VarP(oneOf(&format, asTable, asJSON), "output", "o", "how to print")
	return cmd
}

func newWalDump(con *console) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "dump DIR", Args: takes("DIR"),
		Short:   "Print every record of a data folder",
		Long:    "Print every record of a data folder, past damage too, and change nothing. The node must be stopped.",
		Example: examples("dnode wal dump dnode-data", "dnode wal dump -o json dnode-data"),
		RunE: func(_ *cobra.Command, args []string) error {
			out := newRecords(con, format)
			return out.end(inspect(args[0], out.show))
		},
	}
	cmd.Flags().VarP(oneOf(&format, asTable, asJSON), "output", "o", "how to print")
	return cmd
}

// inspect shows the records of a folder to visit. Damage is an error, after all
// was shown.
func inspect(dir string, visit func(r *wal.Record) error) error {
	fs, err := osfs.OpenReadOnly(dir)
	if err != nil {
		return err
	}
	found := false
	var damage error
	err = wal.Inspect(fs, func(r *wal.Record) error {
		switch r.Kind {
		case wal.KindIdentity:
			found = found || r.Bytes > 0 || r.Corrupt
		case wal.KindSegment, wal.KindDamage:
			found = true
		case wal.KindVerdict:
			if !found {
				return fmt.Errorf("%s is no data folder: it holds neither an identity file nor a log; give the --data-dir of a node", dir)
			}
		}
		if text := judgeRecord(r); text != "" {
			damage = &exitError{exitCorruption, errors.New(text)}
		}
		return visit(r)
	})
	return errors.Join(err, fs.Close(), damage)
}

// judgeRecord says what a record means for the folder, nothing if it is well:
// that the node refuses to start, or may have forgotten a vote.
func judgeRecord(r *wal.Record) string {
	switch {
	case r.Kind == wal.KindDamage && r.File == "vote":
		return "the vote file is damaged: " + r.Text
	case r.Kind == wal.KindDamage && r.File == "identity", r.Kind == wal.KindVerdict && r.Corrupt: // the log may be whole without its identity
		return r.Text
	}
	return ""
}

// walFile is one line of wal ls.
type walFile struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	Groups int    `json:"groups"`
	First  uint64 `json:"first"` // entry; zero: none
	Last   uint64 `json:"last"`
	Text   string `json:"text"`
}

// listWal sums the records of a folder up by file.
func listWal(dir string) ([]walFile, error) {
	var files []walFile
	err := inspect(dir, func(r *wal.Record) error {
		switch {
		case r.Kind == wal.KindVerdict:
			return nil
		case r.Kind == wal.KindGroup:
			f := &files[len(files)-1]
			f.Groups++
			if first := uint64(r.First); f.First == 0 || first < f.First {
				f.First = first
			}
			f.Last = max(f.Last, uint64(r.Last))
		case len(files) == 0 || files[len(files)-1].File != r.File:
			files = append(files, walFile{File: r.File, Bytes: r.Bytes, Text: r.Text})
		case r.Kind == wal.KindDamage:
			files[len(files)-1].Text += fmt.Sprintf("; damaged at offset %d", r.Offset)
		}
		return nil
	})
	return files, err
}

// records prints records as they come.
type records struct {
	out    *bufio.Writer
	format string
	count  int
}

func newRecords(con *console, format string) *records {
	return &records{out: bufio.NewWriter(con.out), format: format}
}

// walRecord is a record in JSON.
type walRecord struct {
	Kind    string `json:"kind"`
	File    string `json:"file,omitempty"`
	Offset  int64  `json:"offset"`
	Bytes   int64  `json:"bytes"`
	First   uint64 `json:"first,omitempty"`
	Last    uint64 `json:"last,omitempty"`
	Corrupt bool   `json:"corrupt,omitempty"`
	Text    string `json:"text"`
}

func (p *records) show(r *wal.Record) error {
	p.count++
	if p.format == asJSON {
		line, err := encodeJSON(walRecord{
			Kind: r.Kind.String(), File: r.File, Offset: r.Offset, Bytes: r.Bytes,
			First: uint64(r.First), Last: uint64(r.Last), Corrupt: r.Corrupt, Text: r.Text,
		})
		if err != nil {
			return err
		}
		p.out.WriteString(separator(p.count))
		_, err = p.out.Write(line)
		return err
	}
	if r.File == "" {
		_, err := fmt.Fprintf(p.out, "%s: %s\n", r.Kind, r.Text)
		return err
	}
	_, err := fmt.Fprintf(p.out, "%s:%d: %s: %s\n", r.File, r.Offset, r.Kind, r.Text)
	return err
}

// separator stands before the n-th element of a JSON array.
func separator(n int) string {
	if n == 1 {
		return "["
	}
	return ",\n "
}

// end finishes the output of a visit that ended with err.
func (p *records) end(err error) error {
	if _, damage := errors.AsType[*exitError](err); p.format == asJSON && (err == nil || damage) {
		if p.count == 0 {
			p.out.WriteByte('[')
		}
		p.out.WriteString("]\n")
	}
	return errors.Join(err, p.out.Flush())
}

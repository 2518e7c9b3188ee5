package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build describes the binary.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(con *console) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "version", GroupID: groupTools, Args: takes(""),
		Short:   "Print what this binary was built from",
		Example: examples("dnode version", "dnode version -o json"),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if format == asJSON {
				return writeJSON(con.out, b)
			}
			_, err := fmt.Fprintln(con.out, b)
			return err
		},
	}
	cmd.Flags().VarP(oneOf(&format, asTable, asJSON), "output", "o", "how to print")
	return cmd
}

func (b build) String() string {
	return fmt.Sprintf("dnode %s %s %s", b.Version, b.Go, b.Platform)
}

// thisBuild reads what the go command has stamped into the binary.
func thisBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of the help, in their order.
const (
	groupStart    = "start"
	groupData     = "data"
	groupCluster  = "cluster"
	groupDiagnose = "diagnose"
	groupTools    = "tools"
)

const welcome = `dnode: a replicated key-value server that answers only when a majority has it on disk.

Try first:
  dnode demo               three nodes in this terminal; watch the leader die and the writes go on
  dnode serve              one node on 127.0.0.1:7400, data in ./dnode-data
  dnode put hello world    write a key; then: dnode get hello

All commands: dnode help
`

// newRoot returns the command tree over one console.
func newRoot(con *console) *cobra.Command {
	root := &cobra.Command{
		Use:           "dnode",
		Short:         "A replicated key-value server and its command line",
		Long:          "dnode is a Raft cluster and a key-value server in one binary: start nodes with it, talk to\nthem, look into them. Every flag can be given as an environment variable, too: --data-dir is\nDNODE_DATA_DIR. A flag wins over its variable.",
		Example:       examples("dnode demo", "dnode serve", "dnode put hello world", "dnode get hello"),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return applyEnv(cmd, con)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			_, err := io.WriteString(con.out, welcome)
			return err
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetIn(con.in)
	root.SetOut(con.out)
	root.SetErr(con.err)
	root.SetFlagErrorFunc(flagError)
	root.Version = thisBuild().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Start:"},
		&cobra.Group{ID: groupData, Title: "Data:"},
		&cobra.Group{ID: groupCluster, Title: "Cluster:"},
		&cobra.Group{ID: groupDiagnose, Title: "Diagnose:"},
		&cobra.Group{ID: groupTools, Title: "Tools:"},
	)
	root.AddCommand(
		newDemo(con), newServe(con),
		newPut(con), newGet(con), newDel(con), newScan(con), newCas(con),
		newStatus(con),
		newWal(con),
		newBench(con), newVersion(con),
	)
	root.SetHelpCommandGroupID(groupTools)
	root.SetCompletionCommandGroupID(groupTools)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	checkArguments(root)
	nameVariables(root)
	return root
}

// checkArguments makes the commands that come with the parser refuse as ours do.
func checkArguments(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if at, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return unknownCommand(at, rest[0])
				}
				return nil
			}
		case "completion":
			c.Args, c.RunE = cobra.ArbitraryArgs, needsOne
			for _, shell := range c.Commands() {
				shell.Args = takes("")
			}
		}
	}
}

// examples joins command lines as the help shows them.
func examples(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }

// family returns a command that only holds others.
func family(use, group, short string, cmds ...*cobra.Command) *cobra.Command {
	f := &cobra.Command{Use: use, Short: short, GroupID: group, Args: cobra.ArbitraryArgs, RunE: needsOne}
	f.AddCommand(cmds...)
	return f
}

// needsOne is what a command that only holds others says when it is called.
func needsOne(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return usagef("%q needs one of %s; see %q", cmd.CommandPath(), strings.Join(names, ", "), cmd.CommandPath()+" --help")
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return usagef("no command %q%s; %q lists them", name, didYouMean(name, names), cmd.CommandPath()+" --help")
}

// takes demands as many arguments as want names, e.g. "KEY VALUE".
func takes(want string) cobra.PositionalArgs {
	n := len(strings.Fields(want))
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		what := "takes " + want
		if n == 0 {
			what = "takes no arguments"
		}
		return usagef("%q %s, got %d; see %q", cmd.CommandPath(), what, len(args), cmd.CommandPath()+" --help")
	}
}

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const envPrefix = "DNODE_"

// variable returns the name of the environment variable of a flag.
func variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv fills the flags of cmd that were not given from the environment, and
// warns about variables that no command knows.
func applyEnv(cmd *cobra.Command, con *console) error {
	env := make(map[string]string)
	for _, kv := range con.env {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	if len(env) == 0 {
		return nil
	}
	warnUnknown(cmd.Root(), con, env)
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		value, ok := env[variable(f.Name)]
		if !ok || f.Changed || f.Name == "help" || f.Name == "version" || err != nil {
			return
		}
		if e := cmd.Flags().Set(f.Name, value); e != nil && !meantForAnother(cmd.Root(), f, value) {
			err = usagef("environment variable %s=%q: %v", variable(f.Name), value, cause(e))
		}
	})
	return err
}

// meantForAnother reports whether another command takes a word that this flag
// does not know: its variable serves them all, and is left alone here.
func meantForAnother(root *cobra.Command, flag *pflag.Flag, value string) bool {
	found := false
	eachFlag(root, func(f *pflag.Flag) {
		c, ok := f.Value.(*choice)
		found = found || ok && f.Name == flag.Name && slices.Contains(c.words, value)
	})
	return found
}

// cause returns what a flag's value itself has to say.
func cause(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, "flag: "); ok {
		text = after
	}
	return plain(text)
}

func warnUnknown(root *cobra.Command, con *console, env map[string]string) {
	var known []string
	eachFlag(root, func(f *pflag.Flag) { known = append(known, variable(f.Name)) })
	var unknown []string
	for name := range env {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		fmt.Fprintf(con.err, "dnode: warning: unknown environment variable %s is ignored%s\n", name, didYouMean(name, known))
	}
}

// nameVariables adds to the help of every flag the variable it may come from.
func nameVariables(root *cobra.Command) {
	eachFlag(root, func(f *pflag.Flag) {
		if f.Name != "help" && !strings.Contains(f.Usage, "[$") {
			f.Usage += " [$" + variable(f.Name) + "]"
		}
	})
}

func eachFlag(cmd *cobra.Command, do func(f *pflag.Flag)) {
	cmd.Flags().VisitAll(do)
	cmd.PersistentFlags().VisitAll(do)
	for _, sub := range cmd.Commands() {
		if sub.Name() != "completion" && sub.Name() != "help" {
			eachFlag(sub, do)
		}
	}
}

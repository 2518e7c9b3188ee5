package main

import (
	"context"
	"io"
	"os"
	"runtime"
)

// console is what a command may see of the process it runs in.
type console struct {
	in  io.Reader
	out io.Writer // data
	err io.Writer // talk
	env []string  // as of os.Environ

	terminal    bool // err is one
	outTerminal bool // out is one
}

func main() {
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	con := &console{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ(),
		terminal: isTerminal(os.Stderr), outTerminal: isTerminal(os.Stdout),
	}
	os.Exit(run(context.Background(), con, os.Args[1:]))
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, con *console, args []string) int {
	root := newRoot(con)
	root.SetArgs(args)
	return report(con.err, root.ExecuteContext(ctx))
}

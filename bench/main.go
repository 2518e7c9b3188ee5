package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Hidden commands: the processes that this program starts from itself.
const (
	workerCommand = "worker" // puts one load on one system
	echoCommand   = "echo"   // answers the floors' messages
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(ended(workerMain(os.Stdin, os.Stdout)))
	}
	if len(os.Args) == 2 && os.Args[1] == echoCommand {
		os.Exit(ended(echoMain(os.Stdin, os.Stdout)))
	}
	opt, err := parseOptions(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v; -help shows the flags\n", err)
		os.Exit(2)
	case opt.list:
		printScenarios(os.Stdout)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := ended(bench(ctx, opt))
	stop()
	os.Exit(code)
}

// ended says why a program failed and returns its exit code.
func ended(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

package main

import (
	"fmt"
	"os"
)

// quiet is the library's log: only what ends the process is shown.
type quiet struct{}

func (quiet) Debug(...any)            {}
func (quiet) Debugf(string, ...any)   {}
func (quiet) Info(...any)             {}
func (quiet) Infof(string, ...any)    {}
func (quiet) Warning(...any)          {}
func (quiet) Warningf(string, ...any) {}

func (quiet) Error(v ...any)                 { fmt.Fprintln(os.Stderr, v...) }
func (quiet) Errorf(format string, v ...any) { fmt.Fprintf(os.Stderr, format+"\n", v...) }

func (q quiet) Fatal(v ...any)                 { q.Panic(v...) }
func (q quiet) Fatalf(format string, v ...any) { q.Panicf(format, v...) }

func (quiet) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (quiet) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }

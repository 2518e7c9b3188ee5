package raft

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var updateFlag = flag.Bool("update", false, "rewrite the expected output in testdata")

// directive is one command of a scenario file:
//
//	# a comment
//	command argument key=value
//	----
//	the expected output, up to an empty line
type directive struct {
	cmd  string
	args []string
	text string // the command line
	want string
	line int
}

// value returns the value of key=..., or fallback.
func (d *directive) value(key, fallback string) string {
	for _, a := range d.args {
		if k, v, ok := strings.Cut(a, "="); ok && k == key {
			return v
		}
	}
	return fallback
}

func (d *directive) number(key string, fallback int) int {
	n, err := strconv.Atoi(d.value(key, strconv.Itoa(fallback)))
	if err != nil {
		panic(err)
	}
	return n
}

// arg returns positional argument k as a number, or fallback.
func (d *directive) arg(k, fallback int) int {
	if k >= len(d.args) {
		return fallback
	}
	n, err := strconv.Atoi(d.args[k])
	if err != nil {
		return fallback
	}
	return n
}

// runScenarios runs every file of testdata through a fresh interpreter.
func runScenarios(t *testing.T, fresh func() func(*directive) string) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if out := runScenario(t, string(data), fresh()); *updateFlag {
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// runScenario runs the directives in data and returns the file with the output
// that they really gave.
func runScenario(t *testing.T, data string, run func(*directive) string) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(data, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		text := strings.TrimSpace(lines[i])
		if text == "" || text[0] == '#' {
			out.WriteString(lines[i] + "\n")
			continue
		}
		words := strings.Fields(text)
		d := &directive{cmd: words[0], args: words[1:], text: text, line: i + 1}
		if i++; i < len(lines) && lines[i] == "----" {
			for i++; i < len(lines) && lines[i] != ""; i++ {
				d.want += lines[i] + "\n"
			}
		}
		got := run(d)
		if got != d.want && !*updateFlag {
			t.Errorf("line %d: %s\ngot:\n%s\nwant:\n%s", d.line, d.text, got, d.want)
		}
		out.WriteString(text + "\n----\n" + got)
		if i < len(lines) {
			out.WriteString("\n")
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choice is a flag value out of a few words.
type choice struct {
	value *string
	words []string
}

// String returns the word chosen.
func (c *choice) String() string { return *c.value }

// Type returns the words, as the help shows them.
func (c *choice) Type() string { return strings.Join(c.words, "|") }

// Set chooses a word.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("%q is none of %s%s", s, strings.Join(c.words, ", "), didYouMean(s, c.words))
	}
	*c.value = s
	return nil
}

// oneOf returns a flag value out of words that starts as the first.
func oneOf(value *string, words ...string) *choice {
	*value = words[0]
	return &choice{value, words}
}

// flagError turns what the flag parser says into a usage error with a way on.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		text = fmt.Sprintf("unknown flag --%s%s", name, didYouMean(name, known))
	} else if strings.HasPrefix(text, "unknown shorthand flag: ") {
		text += `; put -- before words that begin with "-"`
	}
	text = plain(text)
	return usagef("%s; see %q", text, cmd.CommandPath()+" --help")
}

// plain takes the names of Go's packages out of what they say of a value.
func plain(text string) string {
	if before, after, ok := strings.Cut(text, "strconv."); ok {
		return before + after[strings.LastIndex(after, ": ")+2:]
	}
	return strings.Replace(text, "time: ", "", 1)
}

// didYouMean returns ", did you mean …?" with the nearest of the words, or
// nothing if none is near.
func didYouMean(word string, words []string) string {
	best, bestAt := "", max(2, len(word)/3)+1
	for _, w := range words {
		d := distance(strings.ToLower(word), strings.ToLower(w))
		if len(word) >= 2 && strings.HasPrefix(w, word) {
			d = 1
		}
		if d < bestAt || d == bestAt && best != "" && w < best {
			best, bestAt = w, d
		}
	}
	if best == "" || bestAt >= max(len(word), len(best)) {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is the number of single-byte edits between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

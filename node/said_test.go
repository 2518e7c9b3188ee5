package node

import "testing"

// A member that cannot be reached at any of its addresses is told of once for
// each, not at every attempt.
func TestLinkFailuresAreSaidOnce(t *testing.T) {
	said, lines := lastSaid{}, 0
	for range 100 {
		for _, text := range []string{"refused at a", "no route to b", "refused at c"} {
			if said.news(text) {
				lines++
			}
		}
	}
	if lines != 3 {
		t.Errorf("%d lines of 3 texts", lines)
	}
	if !said.news("another name answered at b") || said.news("refused at c") {
		t.Error("what is new was not said, or what is not was")
	}
}

package main

import (
	"testing"

	"github.com/dnode-engine/dnode/bench/embedded/try"
)

func TestCommits(t *testing.T) { try.Ten(t, start) }

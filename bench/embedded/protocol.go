package embedded

import (
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

// Order is what a program is to measure: one line of JSON on its input. The
// input is then held open: when it ends the program ends.
type Order struct {
	Dir       string        `json:"dir"` // for the nodes' folders
	Clients   int           `json:"clients"`
	KeySize   int           `json:"key_size"`
	ValueSize int           `json:"val_size"`
	Keys      int           `json:"keys"`
	Total     int64         `json:"total"` // entries, instead of a time
	Duration  time.Duration `json:"duration_ns"`
	WarmUp    time.Duration `json:"warm_up_ns"`
	Seed      uint64        `json:"seed"`
}

// Answer is one line of JSON on the output: that the warm-up is over, or what
// was measured.
type Answer struct {
	Measuring bool    `json:"measuring,omitempty"`
	Result    *Result `json:"result,omitempty"`
}

// Result is what was measured, from the end of the warm-up on.
type Result struct {
	What       string          `json:"what"` // the library with its parts and their versions
	Load       load.Result     `json:"load"`
	Histogram  *load.Histogram `json:"histogram"`
	CPU        time.Duration   `json:"cpu_ns"`
	Allocs     uint64          `json:"allocs"`
	AllocBytes uint64          `json:"alloc_bytes"`
	Elections  int             `json:"elections"` // 1 if another node led at the end
}

package main

import (
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

// record is everything that was measured: results.json.
type record struct {
	Began    time.Time    `json:"began"`
	Seconds  float64      `json:"seconds"` // that it took
	Command  []string     `json:"command"`
	Rounds   int          `json:"rounds"`
	Machine  machine      `json:"machine"`
	Versions versions     `json:"versions"`
	Settings settings     `json:"settings"`
	Floors   []floors     `json:"floors"` // one per round
	Runs     []run        `json:"runs"`
	Skipped  []string     `json:"skipped"` // scenarios that were not run, and why
	Plan     []planned    `json:"plan"`
	Cluster  []startLines `json:"commands"` // how the nodes were started
}

// planned is a scenario as it was run.
type planned struct {
	Name    string  `json:"name"`
	Group   string  `json:"group"`
	What    string  `json:"what"`
	Op      load.Op `json:"op"`
	Level   string  `json:"level"`
	Conns   int     `json:"conns"`
	Clients int     `json:"clients"`
	Nodes   int     `json:"nodes"`
	Open    bool    `json:"open_loop"`
}

// startLines are the commands that started the nodes of a system.
type startLines struct {
	System string   `json:"system"`
	Lines  []string `json:"lines"`
}

// settings are what all runs share.
type settings struct {
	MeasureSeconds float64 `json:"measure_seconds"`
	WarmUpSeconds  float64 `json:"warm_up_seconds"`
	KeySize        int     `json:"key_size"`
	ValueSize      int     `json:"val_size"`
	Keys           int     `json:"keys"`
}

// versions name what was measured.
type versions struct {
	Commit     string `json:"commit"` // of dnode's tree; + if it has changes that are not committed
	Dnode      string `json:"dnode"`  // binary
	Etcd       string `json:"etcd"`   // as the server says
	EtcdClient string `json:"etcd_client"`
	EtcdTool   string `json:"etcd_tool"`
	Go         string `json:"go"`
}

// run is one scenario on one system in one round.
type run struct {
	Scenario string          `json:"scenario"`
	System   string          `json:"system"`
	Round    int             `json:"round"` // from 1
	Failed   string          `json:"failed,omitempty"`
	Load     load.Result     `json:"load"`
	Hist     *load.Histogram `json:"histogram,omitempty"`
	Puts     *load.Histogram `json:"puts,omitempty"` // parts of a mix
	Gets     *load.Histogram `json:"gets,omitempty"`

	ClientCPUSeconds float64      `json:"client_cpu_s"`
	Servers          []serverUse  `json:"servers"`              // the leader first; embedded: the whole process
	Embedded         *embeddedUse `json:"embedded,omitempty"`   // of embedded scenarios
	SyncTimes        []bucket     `json:"sync_times,omitempty"` // of all servers' logs, by the servers
	Control          latency      `json:"control"`              // plain syncs meanwhile
	Elections        float64      `json:"elections"`
	// WrittenBytes is what the disk has written meanwhile, for whomever.
	WrittenBytes int64 `json:"written_bytes"`
	// OtherCores is how many cores all other programs used meanwhile, the kernel's
	// own work and what the host of a virtual machine took away included.
	OtherCores    float64 `json:"other_cores"`
	PeakOpsPerSec float64 `json:"peak_ops_per_s,omitempty"` // that an open loop was set by
}

// serverUse is what one node used while it was measured. Zero: not to be had.
type serverUse struct {
	CPUSeconds  float64 `json:"cpu_s"`
	ResidentKiB int64   `json:"resident_kib"` // at the end
	PeakKiB     int64   `json:"peak_kib"`
	Syncs       float64 `json:"syncs"`
}

// embeddedUse is what a library allocated with all its nodes and the load.
type embeddedUse struct {
	What       string `json:"what"` // the library with its parts
	Allocs     uint64 `json:"allocs"`
	AllocBytes uint64 `json:"alloc_bytes"`
}

// perOp divides a figure of all servers by the operations of the run.
func (r *run) perOp(of func(s *serverUse) float64) float64 {
	if r.Load.Ops == 0 {
		return 0
	}
	sum := 0.0
	for i := range r.Servers {
		sum += of(&r.Servers[i])
	}
	return sum / float64(r.Load.Ops)
}

// little is the number in flight by Little's law: throughput times mean latency.
func little(r *load.Result) float64 { return r.OpsPerSec * r.AvgUs / 1e6 }

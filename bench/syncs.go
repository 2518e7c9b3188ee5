package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// bucket counts syncs that took at most so long, as the servers' histograms do:
// each holds all that the shorter ones hold. Infinity is written as zero.
type bucket struct {
	Us    float64 `json:"us"`
	Count float64 `json:"count"`
}

// Histograms of the log's syncs, in seconds.
var syncHistograms = []string{"dnode_wal_sync_seconds_bucket", "etcd_disk_wal_fsync_duration_seconds_bucket"}

// syncTimes are the syncs between two scrapes of all nodes.
func syncTimes(before, after []samples) []bucket {
	counts := map[float64]float64{}
	for i := range after {
		for key, v := range after[i] {
			name, labels, _ := strings.Cut(key, "{")
			text, le := strings.CutPrefix(labels, `le="`)
			if !le || !slices.Contains(syncHistograms, name) {
				continue
			}
			bound, err := strconv.ParseFloat(strings.TrimSuffix(text, `"}`), 64)
			if err != nil {
				continue
			}
			counts[bound] += v - before[i][key]
		}
	}
	var all []bucket
	for bound, n := range counts {
		us := bound * 1e6
		if math.IsInf(bound, 1) {
			us = 0
		}
		all = append(all, bucket{us, n})
	}
	sortBuckets(all)
	return all
}

// sortBuckets puts infinity last.
func sortBuckets(all []bucket) {
	slices.SortFunc(all, func(a, b bucket) int {
		if (a.Us == 0) != (b.Us == 0) {
			return cmp.Compare(b.Us, a.Us)
		}
		return cmp.Compare(a.Us, b.Us)
	})
}

// syncsOf are the syncs of all rounds of a cell.
func syncsOf(c *cell) []bucket {
	var all []bucket
	for _, r := range c.runs {
		for _, b := range r.SyncTimes {
			i := slices.IndexFunc(all, func(o bucket) bool { return o.Us == b.Us })
			if i < 0 {
				all = append(all, b)
			} else {
				all[i].Count += b.Count
			}
		}
	}
	sortBuckets(all)
	return all
}

// within says what a share q of the syncs did not exceed: the bound of its
// bucket.
func within(all []bucket, q float64) string {
	last := 0.0
	for _, b := range all {
		switch {
		case b.Us == 0:
			return "> " + duration(last)
		case b.Count >= q*all[len(all)-1].Count:
			return "≤ " + duration(b.Us)
		}
		last = b.Us
	}
	return ""
}

const howToReadSyncs = "What the servers say of the syncs of their logs, all nodes and rounds together; they count in buckets that double, so these are\n" +
	"upper bounds (etcd's first is 1 ms). `control` is the harness itself: while the system is measured it syncs a few bytes every 50 ms\n" +
	"in a zero-filled file of its own on the same disk. What is slow for the control as well is not the system's doing."

func controlP50(r *run) float64 { return r.Control.P50Us }
func controlMax(r *run) float64 { return r.Control.MaxUs }

// syncs is the table of the servers' own sync times.
func (p *page) syncs(rec *record, t table) {
	titled := false
	for _, s := range rec.Plan {
		for _, system := range []string{sysDnode, sysEtcd} {
			c := t.get(s.Name, system)
			all := syncsOf(c)
			if len(all) == 0 || all[len(all)-1].Count == 0 {
				continue
			}
			if !titled {
				titled = true
				p.line("## Syncs, as the servers measure them\n\n%s\n", howToReadSyncs)
				p.head("scenario", "system", "syncs", "p50", "p99", "p99.9", "longest", "control, p50", "control, longest")
			}
			p.row(s.Name, system, grouped(all[len(all)-1].Count), within(all, 0.5), within(all, 0.99), within(all, 0.999), within(all, 1),
				duration(c.over(controlP50).median), duration(c.most(controlMax)))
		}
	}
	if titled {
		p.line("")
	}
}

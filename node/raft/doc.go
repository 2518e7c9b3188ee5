// Package raft is the Raft algorithm as a pure state machine: events in, a
// [Ready] out. It has no clock, no I/O and no goroutine.
package raft

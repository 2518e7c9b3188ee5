// Package disk carries out the storage effects of a replica on a log store, in
// order. It is pure: it decides what is written, as which group, and with how
// many syncs; the shell decides only on which goroutine it runs.
//
//	replica ──► Store 5 ──┐
//	            Store 6 ──┼─► Write ──► vote ─► group(s) ─► one sync ──► Completion 7
//	            Store 7 ──┘
//
// Everything that queued up during one sync becomes the next: that is the
// group commit. There is no timer.
//
// # Decisions
//
// 2026-11-23: of several votes in one Write only the newest is saved, and it is
// saved before the entries. A term that becomes durable earlier than the
// entries around it promises nothing that was not asked for: messages that rely
// on either leave only after the whole Write.
package disk

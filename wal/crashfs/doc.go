// Package crashfs is an in-memory file system under package wal that knows
// what a power cut may leave of it.
//
//	fsys := crashfs.New()
//	... run a log on it ...
//	after := fsys.Crash(seed)   // a new FS: what a power cut now could leave
//	after := fsys.Kill()        // a new FS: what kill -9 leaves (all that was written)
//
// Every file has two contents: what readers see, and what is on the disk. A
// write changes the first; Sync brings the file's bytes and size to the
// second. A name is on the disk only after SyncDir of its folder. Crash keeps
// what is on the disk and, decided by the seed, a share of the rest:
//
//   - per 512-byte sector, the content after any number of the unsynced writes
//     that touched it, whole: none, all, or some of them;
//   - per file, the size after any number of the unsynced writes; where the
//     file grew and nothing was kept there are zeros or, by seed, garbage;
//   - per folder, a prefix of the unsynced creates, renames and removals, as a
//     journal would leave them, or any subset of them.
//
// One seed in eight keeps nothing unsynced, one in eight everything. Crash and
// Kill do not change the FS they are called on, so that many images can be
// taken of one moment. Equal calls on equal histories give equal images. Images
// yields all that a power cut can leave, if they are few enough.
//
// Faults are injected by rule (Inject): the nth matching operation fails, or
// writes short. A failed Sync drops what it should have written: readers still
// see it, the disk never gets it, and the next Sync succeeds, as Linux does it.
// SetQuota makes the disk full. Lie makes Sync and SyncDir do nothing, to show
// that a test of durability can fail. StopAt cuts the power before the nth
// operation: it and all later ones fail. Operations are counted, and SetTrace
// shows each as it happens, so that a test can see a sync before an answer.
//
// Spoil makes a sector unreadable until it is written again; Flip changes bits at
// rest; Lose and Misdirect let one write, which the disk acknowledges, never arrive
// or arrive elsewhere. What went astray in a file's last sync is found in its place
// after a crash all the same: without anything behind it, it could not be told from
// a write that was never made. Floor says up to where there is something behind.
//
// An FS and its files are used by one goroutine at a time.
//
// # Decisions
//
// 2026-11-23: a sector is kept at one of its versions, whole, rather than each
// write on its own: the page cache writes back what a sector held at some
// moment, and never a later write without an earlier one to the same bytes.
//
// 2026-11-23: names are kept in sorted slices, not in a map: folders have a
// dozen files, and order must not depend on a hash.
package crashfs

// Package osfs is the real file system under package wal: one data folder of
// the machine, held by one process.
//
//	fsys, err := osfs.Open("dnode-data")   // makes it with mode 0700, takes LOCK
//	store, rec, vote, err := wal.OpenStore(fsys, opt)
//	...
//	store.Close(); fsys.Close()            // in this order
//
// LOCK is held with flock, which the kernel lets go when the process ends,
// however it ends; the file itself stays. A second process gets an error that
// wraps wal.ErrLocked and names the folder. OpenReadOnly is for the offline
// tools: it changes nothing, takes a shared lock if the folder has a LOCK
// file, and so refuses a folder in use.
//
// Sync is fdatasync on Linux, which also brings the file's size to the disk,
// and F_FULLFSYNC on macOS, where fsync stops at the drive's cache. SyncDir is
// fsync of the folder, which stays open. DropCache asks the kernel to forget a file's clean
// pages, after a failed sync has made them doubtful: on Linux by
// posix_fadvise, on macOS by F_NOCACHE; both are requests, not orders.
//
// Names are relative to the folder and use forward slashes; a name that would
// leave the folder is refused. A symbolic link put there by the operator is
// followed. EINTR is not an outcome of a sync here: the call is repeated.
//
// # Decisions
//
// 2026-11-23: fdatasync rather than O_DSYNC or O_DIRECT. On zero-filled files
// the difference is within noise on the machines measured, and fdatasync works
// on every file system. A faster mode can come behind wal.File.
//
// 2026-11-23: flock rather than a file with a process id: a pid file outlives
// kill -9 and then needs a guess.
package osfs

// Package wal is the log on disk: segment files of groups of entries, the vote
// file and the identity file of one data folder.
package wal

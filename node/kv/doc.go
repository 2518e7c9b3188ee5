// Package kv is the key-value state machine: ordered keys, each with its
// value, create revision, mod revision and version. Apply carries out one
// command of the log, Read answers one query; both speak the encodings of
// package wire. It is pure: no I/O, no clock, no goroutine, and what it
// answers depends on the commands applied and on nothing else.
//
//	btree of refs, by key            slabs, 1 MiB each (an item above 64 KiB has its own)
//	┌───────────────────────┐       ┌──────┬────────┬──────┬────────┬──────┬────────┬─ ─ ─
//	│ prefix │ slab │ off   │──────►│ hash │ item   │ 0    │ dead   │ hash │ item   │ head
//	└───────────────────────┘       └──────┴────────┴──────┴────────┴──────┴────────┴─ ─ ─
//	                                  8      lengths, key, value, revisions: see item.go
//
// A put finds its place in the tree, marks the item it replaces as dead by
// clearing that one's hash word, and appends the new item to the head slab. A slab
// in which all is dead is released at once; a few are kept for reuse. When more
// than a third of all bytes is dead, each Apply also scans a few KiB of a
// sparse slab and moves what is alive there to the head, until that slab is
// all dead. A scan page or a get is a copy of stored bytes behind a head made anew.
//
// Invariants:
//   - The tree holds one ref for each live item, and no other.
//   - Memory ≤ 1.5 × the most that Bytes has been + 8 MiB, however often keys are overwritten.
//   - An Apply costs time in proportion to its command, not to the state: old
//     values are neither read nor hashed, compaction scans 4 KiB and 4 bytes
//     for each byte appended.
//   - Hash is the wrapping sum of the items' hashes: equal states have equal
//     hashes, whatever led to them, wherever the items lie.
//   - Nothing returned or appended aliases a slab; no argument is kept.
//   - Apply and Read of existing keys allocate nothing once slabs circulate.
//
// A point-in-time view is the tree's root and the slabs slice as they stand, and a
// pin on its epoch: nodes from before it are copied before they change, and slabs
// that die while a view is open which may read them wait in limbo, neither reused
// nor given another ref's slot.
//
// Store: commands and queries. item: bytes. heap: slabs. index: order. compactor:
// memory.
//
// # Decisions
//
// 2026-11-23, figures for 1 M keys of 8 bytes with values of 256, 2 cores:
//
//   - Refs into slabs, not structs of key and value: 324 MB in 40 k objects and
//     1.1 ms for a full collection, where structs took 350 MB, 2.05 M objects
//     and 96 ms. 302 MB of it are slabs; random overwrites raise those to 1.51
//     times that, and no more.
//   - The first 8 key bytes stand in the ref, for 8 bytes a key and more with
//     the tree's slack: a random put takes 1.1 to 1.9 µs (p50 and mean while
//     slabs still grow) where it took 2.8, a get 0.9 where it took 1.7.
//   - The item's hash is stored before it, 8 bytes a key, and doubles as the
//     mark of death. Hashing the old value again at each overwrite would make
//     deletes cost as much as their values are long: a batch of 10,000 deletes
//     of 100 KB each would hash 1 GB inside one Apply.
//   - The hash is two lanes of 64 × 64 → 128 bit multiplications written here:
//     27 ns for 294 bytes. CRCs were rejected: they are linear, so that sums
//     and xors of them cancel.
//   - Above a third dead rather than a half: memory is 1.5 × live instead of 2,
//     for 1.12 µs a random overwrite instead of 0.98. A fifth would be 1.26 × live.
//     In 1 M overwrites one took 1.1 µs at p50, 9 at p99, 23 at p99.9, 160 at p99.999.
//   - The next victim is the sparsest of 64 slabs in turn, not of all: the
//     search stays bounded for any state.
//
// 2026-11-24, the same keys and values (go test ./node/kv -run xxx -bench Million):
//
//   - Items are stored with the revisions' own widths, 281 bytes instead of 302, and
//     not as they travel: 299 MB in 18 k objects where it was 324 MB in 40 k, index
//     included. The price: a scan of 100 keys takes 26 µs where it took 16.
//     Rejected: doing without the stored hash of small items, which saves 8 more and
//     reads the old value at each overwrite.
//   - A B-tree of our own instead of tidwall/btree: arrays of refs grow by 8, and
//     halves of a split have no room left over, so that a key takes 17 to 19 bytes
//     in any order where it took 24, and 33 if keys came in order. A descent finds
//     the old item before the new one's size must be known, and comparing prefixes
//     needs no call: 1.1 µs a random overwrite and 0.8 a get, 1.1 and 0.9 before.
package kv

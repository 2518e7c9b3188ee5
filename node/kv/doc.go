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
// A put appends the new item to the head slab, enters its ref in the tree, and
// marks the item it replaced as dead by clearing that one's hash word. A slab
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
// A point-in-time view is an O(1) copy of the tree, the slabs slice as it
// stands, and a pin on its epoch: slabs that die while a view is open which
// may read them wait in limbo, neither reused nor given another ref's slot.
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
//     not as they travel: 301 MB in 17 k objects where it was 324 MB in 40 k, index
//     included. Rejected: doing without the stored hash of small items, which saves 8
//     more and reads the old value at each overwrite.
//   - How wide an item is hangs on the one that it replaces, and a put still descends
//     once: the item is made as long as it may become, and the rest is given back.
//   - A scan loads 16 items ahead of the copies: 100 keys take 17 µs, 26 without that,
//     15 when items were stored as they travel.
//   - Nodes of the tree hold up to 143 refs, degree 72: a key takes 24 bytes in random
//     order and 30 in ascending order, with the library's default of 32 it took 25 and
//     35, with 128 it takes 22 to 25 and 33. A random overwrite takes 0.94 µs and a get
//     0.70, 1.03 and 0.80 with 32, 0.90 and 0.68 with 128.
//   - Rejected: a B-tree of our own with arrays that grow by 8, which takes 17 to 19
//     bytes a key in any order (11 MiB less for each million keys in order), 1.1 µs an
//     overwrite and 0.8 a get; 0.90 and 0.69 in the same runs as the figures above.
//     What it saves is not worth its 280 lines.
package kv

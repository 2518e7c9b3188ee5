// Package wal keeps a replica's log, vote and identity in one data folder.
//
// It is synchronous steps over two small interfaces, FS and File: no
// goroutine, no clock, no state outside the values it returns. Package
// wal/osfs is the real file system, wal/crashfs one in memory that knows what
// a power cut may leave. A Store joins Log and Votes; everything on one folder
// is used by one goroutine at a time, PrepareSegment alone may run beside it.
//
//	store, recovered, vote, err := wal.OpenStore(fs, opt)
//	store.Append(runs)  // entries as the wire has them; nothing is durable yet
//	store.Sync()        // now it is
//	store.Read(dst, lo, maxBytes)
//	store.SaveVote(v)   // durable at return
//	store.Seal()        // when idle: attest the last group
//
// This page is the format: enough to write a reader from.
//
// # Folder
//
//	identity           who this is: replica id, name, cluster, last sealed segment
//	vote               term and vote, two slots
//	LOCK               held by the process (wal/osfs)
//	fence              only after a failed write or sync: see below
//	wal/00000001.seg   segments, numbered from 1 without gaps
//	wal/00000002.seg   the last one to three: being written, and prepared
//	wal/00000003.new   being prepared by PrepareSegment (.now: by the log); removed at start
//
// # Numbers and checksums
//
// Integers are little-endian. Checksums are CRC-32C. Records begin at offsets
// that are multiples of 8. crc(x, y) is the CRC-32C of y continued from x.
//
//	seed          = crc(0, segment number u64 | owner's replica id 16 bytes)
//	place(offset) = crc(seed, offset u64)
//
// Every record checksum starts from the place of the record in its segment, so
// that a stale record of a recycled file, a record of another replica, and a
// record at a wrong offset are all damage. Record type 0 is invalid: prepared
// zeros never parse.
//
// # Segment
//
//	0                  64      512
//	+------------------+-------+-------+-------+------+-------+------+----------
//	| segment header   | zeros | group | group | seal | group | seal | zeros ...
//	+------------------+-------+-------+-------+------+-------+------+----------
//	                                            (idle)          (ends the segment)
//
//	header   0  8  magic "dnodeWAL"      16  8  number
//	         8  4  format version, 1     24 16  owner, a replica id
//	        12  4  zero                  40  8  size of the file in bytes
//	        48 12  zero                  60  4  CRC of bytes 0 to 59
//
// A segment is written whole, with zeros, before it is used; only then does it
// get its name. The first index stands in the first group.
//
// # Group
//
// One group is one write. It holds entries as package wire encodes them.
//
//	+--------------+---------+---------+-----+---------+------------------+
//	| header 48    | entry   | entry   | ... | 0 to 7  | mark 56 + 16 r   |
//	|              |         |         |     | zeros   |                  |
//	+--------------+---------+---------+-----+---------+------------------+
//
//	header   0  4  type 1                24  8  first index
//	         4  4  chain before          32  4  bytes of entries, without padding
//	         8  8  segment number        36  4  term runs in the mark, r
//	        16  8  sequence of the group 40  4  entries
//	                                     44  4  CRC of bytes 0 to 43, from its place
//
//	mark     0  4  type 2                24  4  entries
//	         4  4  term runs, r          28  4  bytes of entries
//	         8  8  sequence              32  8  synced through: segment number
//	        16  8  first index           40  8  synced through: offset
//	        48 16r first index u64, term u64 of each run
//	            4  chain: crc(chain before, header, entries, padding, mark so far)
//	            4  CRC of the mark up to here, from the mark's place
//
// Sequences count groups through all segments. The chain begins with the
// segment's seed, runs through all records of the segment, and shows one that
// is missing or was replaced. "Synced through" is the place up to which all was
// known to be on the disk when the mark was written. It is what a group says
// about those before it, and it can be believed though the group's own entries
// are damaged: the mark has a CRC of its own.
//
// The first index may be ≤ the last one written before: the entry there, and
// all after it, are superseded. Nothing of them is touched on the disk.
//
// # Seal
//
//	seal     0  4  type 3                48  8  last index
//	         4  4  chain before          56  4  points, p
//	         8  8  segment number        60  4  term runs, r
//	        16  8  sequence of last group 64 4  why: 1 idle, 2 segment full, 3 clean stop
//	        24  8  synced: segment       68  4  zero
//	        32  8  synced: offset        72 16p first index u64, offset u64
//	        40  8  successor, or zero       16r first index u64, term u64
//	            4  chain, 4 CRC of all before, from its place
//
// The seal that ends a segment names the successor and carries the segment's
// index: a point for the first group, for each group that supersedes, and for
// the first after every 64 KiB; and the term runs in the order written. Other
// seals have neither. Bytes after the seal that ends a segment are not read.
// A group is written only if both a short and an ending seal fit behind it.
//
// # Vote
//
// Two slots of 72 bytes at offsets 0 and 4096.
//
//	slot     0  8  magic "dnodeVOT"      32  8  voted for, zero: nobody
//	         8  4  format version, 1     40 16  owner
//	        12  4  slot number, 0 or 1   56  4  1: must abstain
//	        16  8  version               60  8  zero
//	        24  8  term                  68  4  CRC of bytes 0 to 67
//
// Version n goes to slot 0, sync, then to slot 1, sync, then comes n+1. It is
// relied on when both slots have it. So each slot alone holds all that was relied
// on: if one is damaged, or torn by a write that failed, the other is enough, and
// is written over it (VoteState.Mended), the worse slot first. It takes two faults to forget a vote: a
// write that the disk lost, and damage to the other slot.
//
// Two valid slots must be equal, or slot 0 one version ahead: the write of slot 1
// had not come. Otherwise a write was lost, and a vote may have been forgotten.
// That, too, is what neither slot valid means, or a log without a vote file:
// VoteState.Abstain. It stays in the file, through restarts, until a vote is saved
// without it. A file without a valid slot is left as it is.
//
// # Identity
//
//	 0  8  magic "dnodeID" 0     44  8  node id, zero until founded
//	 8  4  format version, 1     52  8  last sealed segment
//	12 16  replica id            60  4  length of the name, then the name
//	28 16  cluster id                4  CRC of all before
//
// # Crash safety, by operation
//
// Append writes one group with one call, behind everything else. A power cut
// leaves any of its sectors. Until a later mark or a seal attests it, recovery
// may cut it; Sync had not returned then, unless the disk lost it afterwards.
//
// Sync is one sync of the segment being written: all older ones were synced
// when they were sealed. If it fails, nothing is known any more: the log, and
// with it the votes, is fenced for ever (ErrFenced), and says so in the file
// "fence", as well as it can. The next start then asks for reads past the page
// cache. A write that fails, other than for want of space, fences too.
//
// Rotation: the successor is complete, synced, and its name synced, before the
// old segment's seal is written; the old segment is synced before anything is
// written to the successor. So a group in a segment proves all segments before
// it, a seal proves that the next file existed, and a batch that ends in the
// next segment never has its end without its beginning.
//
// Supersede is an append. What it supersedes stays until the segment goes.
//
// Seal syncs, writes the short seal, syncs, and brings the identity file up to
// date. A torn seal costs nothing but the attestation.
//
// SaveVote is above. SaveIdentity writes a new file, syncs it, renames it,
// syncs the folder. The last sealed segment is recorded when idle, at a clean
// stop, and at rotation once it is 16 behind: it is what shows that the newest
// segments are all missing; single ones are shown by the numbers and the seal.
//
// # Recovery
//
//  1. Remove .new and .now files. Segments must be numbered from 1 without a
//     gap, up to the successor of the last sealed one.
//  2. Scan each segment, verifying every byte of every record: place, chain,
//     every entry, sequence, index order, and the seal's index against what
//     was found. Go on to the successor after a seal that ends a segment.
//     A read that fails is a *CorruptError wherever it strikes, and nothing is
//     changed: it does not say that the bytes are torn.
//  3. The scan ends at something that is no valid record, at E. Look at all
//     that could still speak: the rest of that segment, at every multiple of
//     8, for marks and seals that verify; the segments after it; the identity
//     file. If any of it is synced through a place behind E, data that was
//     durable is damaged: *CorruptError with file, offset and entries. Nothing
//     is changed.
//  4. Otherwise everything from E on is an unattested tail. Replace it by
//     zeros, and report it in Recovered.Cut.
//  5. Write the valid part of the unattested tail again, to the same bytes,
//     sync the file and the folder. A page cache that survived kill -9 may
//     show, and call clean, what a failed sync never brought to the disk. Only
//     then is an index published.
//  6. Write a seal, if the last group has none behind it.
//
// # What the disk is assumed to do
//
//   - A sector of 512 bytes is written whole or not at all. A group shares its
//     first sector with the record before: that sector is rewritten with the
//     same bytes in front.
//   - After a successful sync the bytes stay, up to rot, which the checksums
//     find. Sectors written between two syncs reach the disk in any order.
//   - A rename is atomic; names are durable after the folder is synced.
//   - A file that was filled with zeros can be overwritten without new space,
//     except where the file system copies on write: ENOSPC is handled there too.
//
// # What is not covered
//
//   - Rot in the last group, or groups of one Sync, before the next append or
//     seal attests them: it cannot be told from a torn write, and is cut.
//   - Damage that takes a group together with every mark, seal and identity
//     that attests it, or a file set back whole to an older state.
//   - A value crafted to hold a valid mark for the very offset at which it will
//     stand, by someone who knows the replica id: after a torn write it can
//     make recovery refuse. It can never make it lose or invent an entry.
//
// # Worked example
//
// The first group of segment 1 of replica a0a1…af: a no-op of term 1 with time
// 7, and a command "x" of term 2 with time 8. It stands at offset 512, is 240
// bytes long, and is test data in golden_test.go.
//
//	01000000 721687a0 0100000000000000  group; chain = seed; segment 1
//	0100000000000000 0100000000000000   sequence 1; first index 1
//	61000000 02000000 02000000 2bfa7643 97 bytes, 2 runs, 2 entries; CRC
//	24000000 01 000000 0100000000000000 entry of 36 bytes, no-op, index 1
//	0100000000000000 716d5ac1           term 1, CRC
//	0700000000000000                    payload: time 7
//	3d000000 02 000000 0200000000000000 entry of 61 bytes, command, index 2
//	0200000000000000 0b8b05e1           term 2, CRC
//	0800000000000000 ... 78             payload: stamp of 32 bytes, "x"
//	00000000000000                      padding, 7
//	02000000 02000000 0100000000000000  mark, 2 runs; sequence 1
//	0100000000000000 02000000 61000000  first index 1, 2 entries, 97 bytes
//	0100000000000000 0002000000000000   synced through segment 1, offset 512
//	0100000000000000 0100000000000000   from index 1 on term 1
//	0200000000000000 0200000000000000   from index 2 on term 2
//	2eb2e959 14fb7fbb                   chain, CRC
//
// # Costs
//
// A group adds 104 bytes, 16 per term in it, and up to 7 of padding. Append is
// one copy of the entries, one pass of CRC-32C and one write; neither it nor
// Sync allocates in steady state. The index in memory is 32 bytes per 64 KiB
// of log or per superseding group. Read looks at up to 64 KiB before the entry
// asked for, and verifies each entry that it passes. Opening reads the whole
// log: 2.2 GB/s from the page cache on the machine at hand, and in groups of
// 500 entries of 336 bytes an append costs 47 ns per entry besides the write.
//
// # Decisions
//
// 2026-11-23: a mark has its own CRC besides the chain, and a group's header
// carries the chain before it. With the chain alone nothing behind a damaged
// record could be verified, and so nothing could attest what was lost.
//
// 2026-11-23: "synced through" names the segment too. Rejected: an offset
// alone; the first group of a segment could then not speak for the last one of
// the segment before.
//
// 2026-11-23: rotation syncs the old segment within Append. Rejected: one Sync
// of both files afterwards; it saves a sync per 64 MiB, and the order of two
// files would hang on the order of two calls.
//
// 2026-11-23: a prepared segment is taken over by rename on the log's own
// goroutine. Rejected: PrepareSegment giving it its final name; when the log
// could not wait and has made its own, a late one would replace it.
//
// 2026-11-23: everything is verified at start. Rejected for now: trusting the
// seals' indexes, which makes starting independent of the log's length; the
// state machine reads every entry again anyway until there are snapshots.
//
// 2026-11-23: recovery reads prepared segments to their end. Rejected: looking
// at their first record alone; zeros over the end of one segment and the
// beginning of the next then hid what the rest of the next one attested. Two
// spares of 64 MiB cost 20 ms from the page cache.
//
// 2026-11-23: recovery ends with a seal of its own, one write and one sync.
// Rejected: waiting for the first idle moment, which comes only after a write:
// a node that is killed and then idles would keep its last group unattested.
//
// 2026-11-23: the identity file is not rewritten at every rotation: three
// syncs in the way of appends, for a loss that the numbers and seals show in
// all but one case.
//
// 2026-11-23: what attests the last group must be a record that stays. Rejected:
// anything that recovery has seen; the mark in a torn tail is cut with the tail,
// and the group before it had nothing left to speak for it.
//
// 2026-11-23: a lost vote file is made with the duty to abstain in it. Rejected:
// saving the duty into a clean file; a power cut between the two forgot it.
//
// 2026-11-23: a vote file without a valid slot is not written. Rejected: writing
// the duty to abstain over it; two reads that failed once then cost the vote, and
// with it the member, for good.
//
// 2026-11-24: one valid slot of the vote is enough. Rejected: to abstain unless both
// are; one failed write tears a slot, and two members that abstained for one, or one
// beside a member that was lost, left a cluster that could never elect again though
// no vote was lost (seed 47945 of the simulator), and a single node that refused to
// start (60686).
//
// 2026-11-23: a segment's zeros go to the device in pieces of 64 KiB (Flusher). A
// sync of 512 bytes beside it has a p99 of 0.27 ms at 395 MB/s of zeros; 11.5 ms at
// 1,292 MB/s when all are left to the last sync, 0.25 ms at 241 MB/s when each piece
// is synced, which would cost a journal commit and a cache flush each.
//
// 2026-11-24: but in pieces of 1 MiB while the log waits for it (Hurry): a segment
// then takes 70 ms instead of 180 beside syncs of 328 bytes, whose p99 is 3.2 ms
// instead of 0.4. Rejected: one size for both (256 KiB: 94 ms, 1.5 ms).
package wal

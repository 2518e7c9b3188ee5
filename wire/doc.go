// Package wire is every byte that dnode puts on TCP, and the one encoding of a
// log entry that network and disk share. It is pure: bytes in, values out.
//
//	frames    BeginFrame, EndFrame, AppendFrame, ParseFrame        frame.go
//	hello     Hello, HelloAck, Negotiate                           hello.go
//	requests  Write, Read, Status and their replies                client.go
//	kv        Command, Query, Item, results                        command.go
//	errors    Error, Code                                          errors.go
//	peers     PeerMessage, AppendPeerFrame, ParsePeer              peer.go
//	log       AppendEntry, ParseEntry, Stamp; Membership           entry.go, membership.go
//	rules     Session: what may come next on one connection        session.go
//	limits    all of them, asserted against each other             limits.go
//
// Encoders append to a slice and keep nothing. Decoders check every length
// before they use it, allocate nothing for bytes, and return slices that alias
// their input: whoever wants to keep them beyond the input's life copies them.
// Texts (names, addresses, messages) are copied into strings.
//
// The rest of this page is the protocol, complete enough to write a client from.
// All of it is protocol version 1. testdata/vectors.txt has every message in
// hex, with the values that it stands for.
//
// # Conventions
//
// Integers are unsigned and little-endian: u8, u16, u32, u64. "crc" is CRC-32C
// (Castagnoli, reflected, initial value and final xor 0xFFFFFFFF; of the ASCII
// bytes "123456789" it is 0xE3069283). An "id128" is 16 random bytes, all zero
// for none. A "text" is a u16 length n and n bytes of UTF-8. Bytes that are
// marked "zero" are sent as zero and refused otherwise. A message has no bytes
// after its last field.
//
// # Frame
//
// Everything is sent in frames, in both directions.
//
//	 0        4    5     6      8                16        20        24
//	+--------+----+-----+------+----------------+---------+---------+- - - - - -+- - - -
//	| length |type|flags| zero |       id       |body crc | head crc|   trace   | body
//	+--------+----+-----+------+----------------+---------+---------+- - - - - -+- - - -
//	|<------------- head crc covers ----------------------->|       |<- body crc covers
//
//	offset size field
//	0      4    length    bytes of the whole frame, this header included: 24 or more
//	4      1    type      see below; 0 is invalid
//	5      1    flags     bit 0: trace context, bit 1: body is S2-compressed; the others are zero
//	6      2    zero
//	8      8    id        of the request, chosen by its sender; 0 where no request is meant
//	16     4    body crc  of bytes 24 to length-1; of no bytes it is 0
//	20     4    head crc  of bytes 0 to 19
//	24     25   trace     only with flag bit 0: trace id (16), span id (8), flags (1), as in W3C Trace Context
//	24/49       body      the rest
//
// A receiver needs 24 bytes to check the header, and then knows how many more
// belong to the frame before it stores any of them. Checks in this order:
// head crc, flags and zero, type not 0, length not less than what stands before
// the body, length not above the limit (2 MiB on the client port, 4 MiB on the
// peer port, 4 KiB before the hello is answered), whether this frame may come
// now, body crc. Whatever fails is fatal to the connection.
//
// Flag bit 0 may be set on any frame after the hello by a client that samples
// traces; every receiver understands it. Flag bit 1 is for peers that agreed on
// feature bit 0 and is refused elsewhere; the crc is of the compressed bytes.
//
//	type name          sent by           id         body
//	1    Hello         caller            0          the caller introduces itself
//	2    HelloAck      acceptor          0          what was agreed, credits
//	3    Error         acceptor          request/0  typed refusal of a request (or, id 0, of the connection)
//	16   Write         client            not 0      a command for the replicated state
//	17   WriteReply    node              request's  revision and result
//	18   Read          client            not 0      a query
//	19   ReadReply     node              request's  revision and result
//	20   Status        client            not 0      empty
//	21   StatusReply   node              request's  what the node says about itself
//	64   PreVote       member            0          peer messages, see below
//	65   PreVoteReply  member            0
//	66   Vote          member            0
//	67   VoteReply     member            0
//	68   Append        member            0
//	69   AppendReply   member            0
//	70   Round         member            0
//	71   RoundReply    member            0
//	72   Snapshot      reserved
//	73   TimeoutNow    reserved
//
// # Connection
//
// A node has two ports: one for clients, one for members ("peers"). On either,
// the side that connects is the caller and speaks first.
//
//	caller                                acceptor
//	  | -- Hello ---------------------------> |  within 2 s and 4 KiB
//	  | <-------------------------- HelloAck  |  or Error with id 0, and close
//	  | -- Write id 1 ----------------------> |
//	  | -- Read id 2 -----------------------> |
//	  | <------------------- ReadReply id 2 - |  replies come in any order
//	  | <------------------ WriteReply id 1 - |
//
// The caller waits for the HelloAck before it sends anything else: earlier
// bytes are a violation. If the session does not open within 2 seconds the
// acceptor sends HelloTimeout and closes.
//
// Versions. Hello carries the range of protocol versions that the caller speaks.
// The acceptor picks the highest that both speak and names it in HelloAck. If
// there is none it answers Error Version, whose text names both ranges. The
// frame header and the first 4 bytes of Hello never change. A later version may
// add fields at the end of Hello: of a caller whose highest version is above its
// own, an acceptor passes over the bytes behind the fields it knows. All other
// bodies have the layout of the version that was picked.
//
// Features. Hello carries the feature bits of the caller, HelloAck those that
// both have. Bit 0: S2 between peers (a decompressed frame still is at most 4
// MiB). All other bits are zero in HelloAck and ignored in Hello.
//
// Credits. HelloAck grants a number of requests and a number of bytes. A request
// is in flight from its being sent until its reply or Error with its id has been
// received; it counts 1 request and its whole frame's bytes. Exceeding either is
// Error Credit and close. Defaults: 4,096 requests, 8 MiB; frames of 2 MiB.
// Replies have no credit: a client that does not read lets at most 8 MiB pile up
// in the node, and is then closed (SlowReader).
//
// Ids are the client's: any number but 0, not used twice at the same time. The
// node repeats them and looks at them for nothing else. Requests in flight
// together are carried out in no promised order; a batch is ordered.
//
// Close or keep. An Error whose id is not 0 answers that request, and the
// connection goes on. An Error with id 0 is about the connection, and its sender
// closes right after it. Fatal are: a damaged or oversized frame, a frame that
// may not come from that side or at that time, a compressed frame that was not
// agreed on, exceeded credit, a malformed Hello, a refused Hello. Not fatal are: a
// frame type below 64 that the node does not know (Error UnknownType: a newer
// client may ask what it likes), and a body that makes no sense (BadRequest).
//
// When a connection ends without an answer, reads may be sent again. A write of
// which any byte may have left has an unknown outcome.
//
// # Hello (type 1)
//
//	offset size field
//	0      2    version      highest the caller speaks (1)
//	2      2    min version  lowest, 1 or more, not above version
//	4      1    side         1: client port, 2: peer port
//	5      3    zero
//	8      8    features
//	16     16   cluster      id128; zero: any (client), not founded yet (member)
//	32     16   replica      id128 of the calling member's data folder; zero for clients
//	48     8    bootstrap    hash of the bootstrap names and addresses; 0: none, and for clients
//	56     text name         the calling member's; any words or empty for clients; ≤ 64 bytes
//	       text to           name of the member that is called; empty: whoever answers; ≤ 64
//	       text peer addr    the calling member's, host:port; empty for clients; ≤ 256
//	       text client addr  likewise; ≤ 256
//
// A client that knows the cluster's id sends it and is refused elsewhere
// (WrongCluster). A member is refused if its name and replica id do not belong
// together in the acceptor's configuration (WrongIdentity), and if it is fresh and
// unknown while the acceptor's cluster is founded (NotFresh).
//
// # HelloAck (type 2)
//
//	offset size field
//	0      2    version      the one to be spoken
//	2      1    member       1: the acceptor's configuration knows the caller's name with the caller's replica; else 0
//	3      1    zero
//	4      4    max frame    bytes of the largest frame the caller may send
//	8      4    requests     credit; 0 for peers: peer messages are not requests
//	12     4    bytes        credit; 0 for peers
//	16     8    features     what both can do
//	24     16   cluster      id128; zero: not founded yet
//	40     16   replica      id128 of the acceptor
//	56     text name         of the acceptor; ≤ 64 bytes
//	       text client addr  where clients reach the acceptor; ≤ 256
//
// # Error (type 3)
//
//	offset size field
//	0      2    code         see below; not 0
//	2      2    zero
//	4      4    retry after  milliseconds to wait before another try; 0: no advice
//	8      text leader       NotLeader: the leader's client address, empty if not known; ≤ 256 bytes
//	       text text         one line for people: what happened, why, what to do; ≤ 1,024
//
// "again" says what a program may do with a write that got this answer. yes: it
// was certainly not carried out and never will be, so sending it again is safe.
// moot: likewise, but the same bytes will fail again. ask: the outcome is not
// known; without a session, sending it again may carry it out twice. id 0 means
// that the code is only ever about the connection; a request in flight on it has
// an unknown outcome, unless its own answer arrived before. Reads change nothing
// and may always be sent again. Unknown codes are to be taken as "ask".
//
//	code name           again  meaning
//	1    Internal       ask    a fault of the node
//	2    NotLeader      yes    go to the leader named, or ask another node
//	3    Unavailable    yes    no leader or no quorum at the moment
//	4    Busy           yes    a limit on what is in progress is reached: wait as told
//	5    Unknown        ask    leadership was lost, or the node stopped, before the write was known to be committed
//	6    TooLarge       moot   the command is over a limit (with id 0: the frame is, and the connection closes)
//	7    BadRequest     moot   the body makes no sense
//	8    BadFrame       id 0   damaged frame
//	9    Version        id 0   protocol versions do not overlap; the text names both ranges
//	10   WrongCluster   id 0   another cluster; the text names both
//	11   WrongIdentity  id 0   name and replica id do not belong together; the text names both
//	12   HelloTimeout   id 0   the session did not open in time
//	13   Unexpected     id 0   a frame that has no place here
//	14   Credit         id 0   more in flight than was granted
//	15   Shutdown       yes    the node is stopping: go to another
//	16   NoSpace        yes    the disk is nearly full: only deletes are taken
//	17   Fenced         yes    the node's disk failed: go to another
//	18   UnknownType    moot   this node does not know the frame, command or query type
//	19   Connections    id 0   too many connections
//	20   SlowReader     id 0   replies were not read
//	21   Corrupt        yes    the data asked for is damaged on this node: ask another
//	22   NotFresh       id 0   a fresh node met a founded cluster that does not know it
//	23   Consistency    yes    this level of consistency is not to be had from this node now
//
// # Write (16) and WriteReply (17)
//
//	offset size field
//	0      8    session      0: none
//	8      8    seq          1 and up in a session, otherwise 0
//	16     8    acked        results up to this seq may be forgotten; below seq
//	24          command      the rest, at most 1 MiB: see Commands
//
//	0      8    revision     index of the write's log entry
//	8           result       the rest: see Results
//
// Writes go to the leader; any other node answers NotLeader. The reply is sent
// when a majority has the write on disk and it has been applied.
//
// # Read (18) and ReadReply (19)
//
//	offset size field
//	0      1    consistency  1: linearizable, 2: lease, 3: stale
//	1           query        the rest: see Queries
//
//	0      8    revision     last log index that the answer has seen
//	8           result       the rest: see Results
//
//	level        answered by  sees
//	linearizable the leader   every write acknowledged before the read was sent: a quorum confirmed the leader after the read came
//	lease        the leader   the same as long as clocks run at the same speed, within the lease's margin
//	stale        any node     what that node has applied, maybe long ago
//
// # Status (20) and StatusReply (21)
//
// Status has no body. Every node answers, in every state.
//
//	offset size field
//	0      8    node id      0: not a member yet
//	8      8    term
//	16     8    leader       node id; 0: none known
//	24     8    commit       index
//	32     8    applied      index
//	40     8    last         index of the log's last entry
//	48     8    hash         of the state at applied: equal on all replicas at equal applied
//	56     16   cluster      id128; zero: not founded yet
//	72     1    role         1: follower, 2: candidate, 3: leader, 4: learner
//	73     1    state        1: ok, 2: fenced, 3: nospace, 4: abstaining; others: unknown
//	74     2    zero
//	76     text name         ≤ 64 bytes
//	       4    members      how many follow, at most 64
//	            member       that many times:
//	       8      node id
//	       16     replica    id128
//	       1      role       1: voter, 2: learner
//	       3      zero
//	       text   name       ≤ 64 bytes
//	       text   peer addr  ≤ 256
//	       text   client addr  ≤ 256; empty: not known
//
// # Commands
//
// What the built-in key-value store takes in a Write. Keys have 1 to 4,096 bytes,
// a whole command at most 1,048,576. Keys and values are any bytes, and keys are
// ordered bytewise.
//
//	put      op 1 (1)  key length (2)  value length (4)  key  value
//	delete   op 2 (1)  key length (2)  key
//	cas      op 3 (1)  mode (1)  key length (2)  expected length (4)  value length (4)  key  expected  value
//	batch    op 4 (1)  count (4)  then count times: length (4)  put, delete or cas
//
// Modes of cas (compare and set): 1: the key must not exist, expected is empty;
// 2: its value must be expected; 3: its mod revision must be expected, a u64. A
// batch has at most 10,000 commands and no batch in it. They are carried out in order, each
// seeing what the ones before did, as one entry with one revision.
//
// # Queries
//
//	get      op 1 (1)  key length (2)  key
//	scan     op 2 (1)  flags (1)  limit (4)  start length (2)  end length (2)  start  end
//
// Scan covers keys from start, inclusive, to end, exclusive; an empty end is no
// end. Both may be one byte longer than a key, so that "right after key" can be
// said: key and a zero byte. Flags: bit 0: keys without values, bit 1: only the
// count. A limit of 0 or above 10,000 means 10,000. A page ends at the limit, or
// before it holds more than 1 MiB of items (the first always fits).
//
// # Results
//
// A result starts with a status (1): 0: ok, 1: not found, 2: condition failed,
// 3: refused. After refused, of whatever command or query, stands a code (2) of
// the table above. Otherwise there follows
//
//	put      nothing
//	delete   nothing; status 1 if the key did not exist
//	cas      nothing with status 0; with status 2: exists (1), then an item if exists is 1 (in a batch always 0)
//	batch    count (4)  then count times: length (4)  result
//	get      an item; nothing with status 1
//	scan     more (1)  count (4)  then count items; with count-only none, or with more the one item to go on from
//	item     create revision (8)  mod revision (8)  version (8)  key length (2)  value length (4)  key  value
//
// more = 1 says that the page ended before the range. Go on right after the last
// key; a count-only page goes on at the key of its one item, whose value is
// empty. Version is 1 for a new key and grows by 1 with each write to it.
//
// # Peer messages
//
// All types have one body. Fields that a type does not use are sent as zero and
// not looked at. Each member calls every other and sends its messages, requests
// and replies alike, on the connections that it called; on these it receives
// nothing but HelloAck and Error. Messages may be lost, repeated or
// reordered by reconnects; nothing but the hello is checked against the
// connection, so a receiver compares from with the member that said hello.
//
//	offset size field     PreVote   PreVote-  Vote  Vote-  Append     Append-      Round   Round-
//	                                Reply           Reply             Reply                Reply
//	0      8    from      x         x         x     x      x          x            x       x
//	8      8    term      wanted    wanted    x     x      x          x            x       x
//	                                or own
//	16     8    index     own last            own          entry      acknowledged         verified
//	                                          last         before     or refused
//	24     8    log term  of it               of it        of it      with hint
//	32     8    commit                                     x                       x
//	40     8    hint                                                  if refused
//	48     8    round                                                              x       x
//	56     1    reject              x               x                 x
//	57     7    zero
//	64          entries                                    the rest
//
// Entries stand back to back, with ascending indexes from index + 1. An
// AppendReply without reject says that the sender has all entries up to index on
// disk, and that they are those of this term's leader. With reject, index is
// that of the refused Append, and hint and log term say where the logs may still
// agree. Round asks, and RoundReply confirms, that the sender of Round still was
// leader of the term when it asked; its index says how far the log has been
// compared with this leader's, and nothing about the disk. A PreVoteReply that
// grants repeats the wanted term, one that refuses has the sender's own.
//
// # Entry
//
// One record of the replicated log: the same bytes in Append and on disk,
// checksummed once by the leader.
//
//	 0        4    5       8                16               24       28
//	+--------+----+-------+----------------+----------------+--------+---------
//	| length |type| zero  |     index      |      term      |  crc   | payload
//	+--------+----+-------+----------------+----------------+--------+---------
//
//	offset size field
//	0      4    length    bytes of the whole entry: 28 or more, at most 28 + 32 + 1 MiB
//	4      1    type      1: noop, 2: command, 3: config; 0 never parses
//	5      3    zero
//	8      8    index     1 or more
//	16     8    term      1 or more
//	24     4    crc       of bytes 0 to 23, then the payload
//	28          payload
//
//	noop      time (8)
//	command   time (8)  session (8)  seq (8)  acked (8)  command
//	config    time (8)  membership
//
// time is the leader's: nanoseconds since the cluster was founded.
//
//	membership
//	0      2    format    1
//	2      2    zero
//	4      4    level     feature level: what the state machine may use
//	8      8    next id   all node ids are below it
//	16     16   cluster   id128
//	32     4    members   how many follow, 1 to 64; layout as in StatusReply, sorted by node id
//	       4    outgoing  how many node ids follow; not 0: the configuration is joint
//	       8      node id  sorted; each is a member
//
// A member's name has 1 to 64 letters, digits, '.', '_' or '-'. While a
// configuration is joint, decisions need a majority of the voters among the members and a
// majority of outgoing: a voter that leaves stays a member, as a learner, until
// the joint configuration is left, so that its address is known.
//
// # Worked example
//
// A client named "ex" connects to node "n1" of a founded cluster, puts "v1" under
// "k" and reads it back. Lines with > are sent by the client.
//
//	> Hello: version 1, min version 1, side 1, the rest zero or empty but name "ex"
//	  5a000000 01 00 0000 0000000000000000 6afc4aea 3d3f6a8b
//	  0100010001000000000000000000000000000000000000000000000000000000
//	  0000000000000000000000000000000000000000000000000200657800000000
//	  0000
//
//	< HelloAck: version 1, frames of 0x200000, 0x1000 requests, 0x800000 bytes, cluster, replica, "n1", address
//	  64000000 02 00 0000 0000000000000000 aa270df1 7705c101
//	  0100000000002000001000000000800000000000000000001011121314151617
//	  18191a1b1c1d1e1f303132333435363738393a3b3c3d3e3f02006e310e003132
//	  372e302e302e313a37343030
//
//	> Write, id 1: session, seq and acked 0; op 1, key length 1, value length 2, "k", "v1"
//	  3a000000 10 00 0000 0100000000000000 b68714d6 5854b417
//	  000000000000000000000000000000000000000000000000010100020000006b
//	  7631
//
//	< WriteReply, id 1: revision 9, status 0
//	  21000000 11 00 0000 0100000000000000 7c4ca8f7 ebf259ed
//	  090000000000000000
//
//	> Read, id 2: linearizable; op 1, key length 1, "k"
//	  1d000000 12 00 0000 0200000000000000 061928fd 20796e81
//	  010101006b
//
//	< ReadReply, id 2: revision 9, status 0, created at 3, modified at 9, version 2, lengths 1 and 2, "k", "v1"
//	  42000000 13 00 0000 0200000000000000 e85cf9d7 5ddaa65c
//	  0900000000000000000300000000000000090000000000000002000000000000
//	  000100020000006b7631
//
// # Limits
//
//	key 4 KiB · command 1 MiB · commands in a batch, keys in a page 10,000 · page 1 MiB
//	frame 2 MiB from clients and to them, 4 MiB between peers, 4 KiB before the hello is answered
//	members 64 · name 64 B · address 256 B · text of an error 1 KiB
//	per connection: 4,096 requests, 8 MiB of requests, 8 MiB of unread replies; 10,000 connections
//
// # Decisions
//
// 2026-11-23. Two checksums per frame, rejected: one over all. Length, type and
// id can be trusted before the body is there, so that size, direction and
// credit are judged without buffering, and a flipped length never makes a
// receiver wait for 4 GiB.
//
// 2026-11-23. An error with id 0 closes, any other does not; rejected: a flag, or
// a list of codes that a client must know. A client handles codes that it has
// never heard of without guessing about the connection.
//
// 2026-11-23. All peer messages share one 64-byte body header; rejected: a layout per
// type. It costs up to 40 bytes per message, of which there is one per batch of
// entries, and needs one codec, one fuzzer, and no new layout when a type begins to
// use a field.
//
// 2026-11-23. The caller waits for HelloAck before its first request; rejected:
// requests behind the hello. It costs one round trip per connection, and what
// an unknown caller can make a node hold stays at 4 KiB.
//
// 2026-11-23. Names may hold letters, digits, '.', '_' and '-' only; rejected: any
// text. They stand in flags, metrics, files and terminals as they are.
//
// 2026-11-23. A voter that leaves is a learner during the joint configuration;
// rejected: outgoing voters with addresses of their own in a second list.
//
// 2026-11-23. Sequence numbers without a session are refused as malformed, not ignored: a
// client that believes in its retries would be wrong silently.
package wire

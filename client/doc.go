// Package client is the Go client of a dnode cluster.
//
//	c, err := client.Open(ctx, client.Config{Endpoints: []string{"127.0.0.1:7400"}})
//	...
//	defer c.Close()
//	rev, err := c.Put(ctx, "greeting", []byte("hello"))
//	it, err := c.Get(ctx, "greeting")
//
// A Client is shared by all goroutines of a program. It holds one connection
// per node. Requests from all callers are appended to one buffer, which is sent
// whole whenever nobody is sending; so the more is going on, the fewer system
// calls a request costs, and no timer delays the first. A caller that is alone
// sends its request itself. A reader goroutine matches answers, which may come
// in any order, to calls, and sends what completions have begun meanwhile. A
// waiting caller is woken once, however often its request had to be sent.
//
// # Bounds
//
// No more is in flight than the node granted, in requests and in bytes;
// callers wait their turn until their context ends. At most Config.MaxPending
// calls wait or are in flight, with requests of at most 256 MiB together; more
// are refused with ErrBusy. A context without a deadline is bounded by
// Config.Timeout. Sizes are checked before anything is sent. A node that leaves
// requests unanswered is asked for a sign of life after Config.ProbeInterval;
// after another one the leader is looked for elsewhere, and stale reads are
// asked again there. What was sent to the leader keeps its chance until its
// deadline, or until another leader is found: then reads are asked again there,
// and the outcome of writes is reported as unknown.
//
// An address that failed is left alone for a random time, of up to
// MinBackoff at first and up to MaxBackoff in the end, however many calls wait.
//
// # Leader
//
// Writes, linearizable and lease reads go to the leader. A NotLeader answer
// that names it is followed at once. Otherwise calls are parked, nodes are
// asked who leads, again and again with growing random waits (5 to 200 ms), and
// all parked calls are sent when one knows. Of hints in a row three are
// followed; the next is not before a wait. An address that a node names gets
// requests once it has said hello as a node of the same cluster. Nothing proves
// that it is one, unless Config.Dial does.
//
// # Errors and retries
//
// What is retried is decided by Decide, a pure function that the simulator runs
// as well:
//
//	how far it came             read         write with session   write without
//	not sent                    retry        retry                retry
//	not leader, leader named    follow       follow               follow
//	not leader, unavailable,
//	shutdown, fenced            elsewhere    elsewhere            elsewhere
//	busy, level not to be had   wait         wait                 wait, at least as advised
//	corrupt                     elsewhere    elsewhere            elsewhere, three times in all
//	too large, bad request,
//	unknown type, no space      fail         fail                 fail
//	internal, unknown, other    elsewhere    elsewhere, same seq  OutcomeUnknown
//	connection lost after send  elsewhere    elsewhere, same seq  OutcomeUnknown
//	time over after send        fail         OutcomeUnknown       OutcomeUnknown
//	time over otherwise         fail         fail                 fail
//
// A write that was once sent without an answer stays one that may have been
// carried out: later refusals do not make it "failed". Writes carry no session
// yet, so the last column holds for them. OutcomeUnknown tells such errors
// apart; SafeToRetry is true only where nothing can have happened.
//
// # Asynchronous calls
//
// PutAsync and GetAsync keep thousands of requests in flight from one
// goroutine. Their completion functions run on the connection's reader
// goroutine, between two batches of answers. They may start further
// asynchronous calls, which is the cheapest way to keep a fixed number in
// flight: all that one batch starts is written at once. They must be short,
// must not block, and must not call the waiting methods or Close: the answer
// they wait for would be read by the goroutine they hold. Deadlines and
// cancellation of asynchronous calls are noticed within 50 ms.
//
// # Decisions
//
// 2026-11-23. Keys are strings, values are []byte. Keys are compared, used in
// maps and written as literals, and a string needs no copy to be kept; values
// are handed to decoders and files. Rejected: []byte for both, which makes every
// call site convert, and strings for both, which copies every value twice.
//
// 2026-11-23. A missing key is ErrNotFound, not a flag: a caller who forgets to
// look gets an error instead of an empty value. Delete tells whether the key
// was there instead, since deleting twice is no mistake.
//
// 2026-11-23. Options of a read are one value struct, not functional options:
// those allocate per call.
//
// 2026-11-23. One lock per client, not per connection. Nearly all traffic goes
// to the leader's connection anyway, and moving calls between connections,
// parking and giving up become simple steps under one lock. It is never held
// during I/O or while completions run.
//
// 2026-11-23. Silence is detected by asking, not by TCP_USER_TIMEOUT or write
// deadlines: a stopped process keeps acknowledging at the TCP level, and the
// same rule then works on every system and over TLS. A read-only socket to a
// vanished host is noticed by TCP keep-alive in about ten seconds.
//
// 2026-11-23. An answer that matches no request in flight ends the connection
// instead of being ignored. It can only come from a faulty node, and what else
// that node says cannot be trusted either. Late answers to calls that gave up
// do match: their slot is kept until then.
//
// 2026-11-23. Decide returns what the next attempt has to be told (Maybe, Hops),
// so that a client keeps no rule of its own: the simulated clients run on the
// same function. Rejected: a package of its own for it, which would split the
// public names in two; instead its file is held to the rules of pure packages.
//
// 2026-11-23. A stale read without an endpoint stays with one node until that
// fails: rotating would make a caller's reads jump back in time.
//
// 2026-11-24. The reader writes what completions begin, and a caller that is
// alone writes its own request, so far as the socket takes it without waiting;
// the writer goroutine has the rest. Only for a *net.TCPConn: who wraps one, for
// TLS say, must see all that is written. Rejected: to write so that it may wait,
// since a node may wait likewise until we read.
//
// 2026-11-24. On Linux a socket is read and written by system calls that the
// scheduler is not told of. Being told, it wakes its monitor thread at the first
// one after each idle moment. Such a call must not wait, hence MSG_DONTWAIT,
// whatever has been done to the socket. Both together: 5.0 → 1.0 context
// switches and 67 → 24 µs of CPU for a put at 1 in flight, 42 → 14 µs for a get.
//
// 2026-11-24. The writer lets whoever can run do so before it writes: callers
// that one batch of answers has woken then share a write. 100 waiting callers on
// 10 connections: 0.13 writes per get instead of 0.85, 6.0 → 2.7 µs of CPU and
// twice the gets. A timer would have made the first one wait.
package client

package replica

// SetNow moves the batch's time forward. A shell that reads its sockets one by
// one within a batch calls it after each: whether a lease still holds must not
// be judged by a time from before the request arrived.
func (r *Replica) SetNow(now int64) {
	r.now = max(now, r.now)
	r.raft.SetNow(r.now)
	r.raft.SetStamp(r.time())
}

package wal

// SpoilIndex makes the seal of the current segment contradict its groups.
func (l *Log) SpoilIndex() { l.seg.points[0].offset += 8 }

package sim

import "math/rand/v2"

// thin leaves some seeds with a single class of faults, and some with none.
func (o *Options) thin(r *rand.Rand) {
	pick, which := r.IntN(16), r.IntN(1<<16)
	if pick > 3 {
		return
	}
	var on []class
	for _, c := range classes() {
		if c.on(o) {
			on = append(on, c)
		}
	}
	for i := range on {
		if pick == 0 || i != which%len(on) {
			on[i].off(o)
		}
	}
}

// class is a class of faults that options switch on: a failing run is tried
// without it.
type class struct {
	name string
	on   func(*Options) bool
	off  func(*Options)
}

// switched is a class that one option switches.
func switched(name string, option func(*Options) *bool) class {
	return class{name, func(o *Options) bool { return *option(o) }, func(o *Options) { *option(o) = false }}
}

// rated is a class that a number above zero switches on.
func rated[T int | int64 | float64](name string, option func(*Options) *T) class {
	return class{name, func(o *Options) bool { return *option(o) > 0 }, func(o *Options) { *option(o) = 0 }}
}

// classes returns all classes of faults. Each option that makes life harder for
// the cluster stands here.
func classes() []class {
	return []class{
		switched("kill", func(o *Options) *bool { return &o.Kill }),
		switched("power", func(o *Options) *bool { return &o.Power }),
		switched("power of all", func(o *Options) *bool { return &o.PowerAll }),
		switched("partitions", func(o *Options) *bool { return &o.Partition }),
		switched("slow disks", func(o *Options) *bool { return &o.SlowDisk }),
		switched("full disks", func(o *Options) *bool { return &o.FullDisk }),
		{"failing disks", func(o *Options) bool { return o.Disks != DiskFaults{} }, func(o *Options) { o.Disks, o.Beyond = DiskFaults{}, false }},
		switched("pauses", func(o *Options) *bool { return &o.Pause }),
		switched("suspended machines", func(o *Options) *bool { return &o.Suspend }),
		switched("clock steps", func(o *Options) *bool { return &o.Step }),
		switched("nonsense", func(o *Options) *bool { return &o.Nonsense }),
		switched("traps", func(o *Options) *bool { return &o.Trap }),
		switched("stranded candidates", func(o *Options) *bool { return &o.Strand }),
		switched("flapping links", func(o *Options) *bool { return &o.Flap }),
		rated("hunts", func(o *Options) *int { return &o.Hunt }),
		rated("clock drift", func(o *Options) *int64 { return &o.DriftPPM }),
		rated("loss", func(o *Options) *float64 { return &o.Loss }),
		rated("duplicates", func(o *Options) *float64 { return &o.Duplicate }),
		rated("long delays", func(o *Options) *float64 { return &o.TailDelay }),
	}
}

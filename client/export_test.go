package client

// StartExample starts three scripted nodes in memory for the examples, and
// returns how to reach them and how to stop them.
func StartExample() (Config, func()) {
	nw := newNetwork(nil, "n1:7400", "n2:7400", "n3:7400")
	nw.lead("n2:7400")
	return Config{Endpoints: []string{"n1:7400", "n2:7400", "n3:7400"}, Dial: nw.dial}, nw.close
}

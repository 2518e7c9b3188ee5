module github.com/dnode-engine/dnode

go 1.26.0

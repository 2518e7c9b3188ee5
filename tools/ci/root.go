package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// asRoot runs the tests that fill and break file systems. Where none can be
// mounted it says so in one line; where one can, they must pass.
func (c *ci) asRoot(out io.Writer) error {
	if err := canMount("ext4"); err != nil {
		fmt.Printf("note: full, read-only and failing disks and the loss of power are NOT tested here: %v\n", err)
		return nil
	}
	if err := canMount("xfs"); err != nil {
		fmt.Printf("note: the loss of power is tested on ext4 only: %v\n", err)
	}
	tests := "Disk|PowerLoss"
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Printf("note: system calls that fail are NOT tested here: %v\n", err)
	} else {
		tests += "|FailedSync|PowerCut"
	}
	return c.goCmd(".", out, "test", "-tags", "root", "-count=1", "-run", tests, "./cmd/dnode")
}

// canMount makes and mounts a small file system, as the tests do.
func canMount(kind string) (err error) {
	if os.Getuid() != 0 {
		return errors.New("that takes root")
	}
	dir, err := os.MkdirTemp("", "dnode-ci-mount-")
	if err != nil {
		return fmt.Errorf("cannot make a scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20), os.Mkdir(at, 0o700)); err != nil {
		return fmt.Errorf("cannot make a scratch file: %w", err)
	}
	for _, args := range [][]string{
		{"mkfs." + kind, "-q", image},
		{"fsck." + kind, "-p", image},
		{"mount", "-o", "loop", "-t", kind, image, at},
		{"umount", at},
	} {
		if said, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", args[0], err, strings.Join(strings.Fields(string(said)), " "))
		}
	}
	if _, err := os.Stat("/sys/fs/" + kind); err != nil {
		return fmt.Errorf("cannot make a file system fail: %w", err)
	}
	return nil
}

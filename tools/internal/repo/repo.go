// Package repo finds the repository that a tool is run in.
package repo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root returns the folder of the root module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot run the go command: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(root, "tools", "internal", "repo", "repo.go")); err != nil {
		return "", errors.New("not inside the repository: change to its folder first")
	}
	return root, nil
}

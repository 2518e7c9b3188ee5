package wal

import "errors"

// fenceMarker is left behind by a failed sync. While it is there, Open asks
// the files to forget the page cache and believes only the disk.
const fenceMarker = "fence"

// leaveFenceMarker does what it can: the disk has just failed.
func leaveFenceMarker(fs FS) {
	f, err := fs.Create(fenceMarker)
	if err != nil {
		return
	}
	f.Sync()            //nolint:errcheck // best effort
	f.Close()           //nolint:errcheck // best effort
	fs.SyncDir(rootDir) //nolint:errcheck // best effort
}

// fenceMarkerLeft reports whether the last user of the folder was fenced.
func fenceMarkerLeft(fs FS) (bool, error) {
	f, err := fs.Open(fenceMarker)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

func removeFenceMarker(fs FS) error {
	if err := fs.Remove(fenceMarker); err != nil && !errors.Is(err, ErrNotExist) {
		return err
	}
	return fs.SyncDir(rootDir)
}

func dropCache(f File) error {
	if d, ok := f.(CacheDropper); ok {
		return d.DropCache()
	}
	return nil
}

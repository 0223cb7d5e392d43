"""From files to photos: watcher, scanner, settling, examiner, originals, quarantine."""

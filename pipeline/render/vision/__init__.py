"""What a picture shows: its faces, found offline; usable alone."""

from pipeline.render.vision.faces import Face, FaceDetector, face_mask, person_mask

__all__ = ["Face", "FaceDetector", "face_mask", "person_mask"]

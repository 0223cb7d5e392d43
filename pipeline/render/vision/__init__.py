"""What a picture shows: its faces, found offline; usable alone."""

from pipeline.render.vision.face_parts import FaceParts, face_parts
from pipeline.render.vision.faces import Face, FaceDetector, face_mask, person_mask

__all__ = ["Face", "FaceDetector", "FaceParts", "face_mask", "face_parts", "person_mask"]

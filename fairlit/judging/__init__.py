"""Images as judges see them: folders, faces found in them, features."""

"""Audits: who is seen in a folder of images, against a target, with error bars and a report to sign."""

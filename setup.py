"""Puts configs/ into the package, as `fairlit.configs`; everything else about the build stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["fairlit", "fairlit.*"]), "fairlit.configs"],
    package_dir={"fairlit.configs": "configs"},
    package_data={
        "fairlit": ["py.typed", "auditing/templates/*"],
        "fairlit.configs": ["**/*.yaml", "**/*.txt", "**/*.md"],
    },
)

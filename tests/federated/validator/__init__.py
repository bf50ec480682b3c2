"""Tests of a training's validators."""

"""LiteRT files: conversion, comparison of their predictions with Keras's, and latency."""

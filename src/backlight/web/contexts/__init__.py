"""Contexts: what each page of a site shows, as plain frozen data; its `.json` twin is the same data.

Templates read nothing else. Lengths are pixels of the network's input, activations are in the network's own scale,
shares are 0 to 1, and every `href` is an address made by `backlight.web.links`.
"""

from __future__ import annotations

from backlight.web.contexts.compare import CompareLayerPage, ComparePage, LayerChangeView, MapChangeView, Side
from backlight.web.contexts.diagnosis import Accused, DiagnosisPage, FindingView, KindView, Unseen
from backlight.web.contexts.images import ClassesPage, ClassView, ImagesPage, ImageUnit, ImageView
from backlight.web.contexts.layers import LayerPage, MapsPage, Scale, WallPage
from backlight.web.contexts.network import Block, Lanes, NetworkPage, Run, Wire
from backlight.web.contexts.others import AboutPage, PlainPage
from backlight.web.contexts.parts import (
    Bar,
    BoxView,
    Card,
    Control,
    EvidenceView,
    Example,
    HitView,
    LabelCount,
    LayerView,
    MapView,
    Near,
    RulesView,
    SiteView,
    Sprite,
    StepView,
)
from backlight.web.contexts.probe import Pick, ProbeLayer, ProbePage

Page = (
    NetworkPage
    | LayerPage
    | MapsPage
    | WallPage
    | ImagesPage
    | ClassesPage
    | PlainPage
    | ProbePage
    | AboutPage
    | ComparePage
    | CompareLayerPage
    | DiagnosisPage
)
"""The context of any page."""

__all__ = [
    "AboutPage",
    "Accused",
    "Bar",
    "Block",
    "BoxView",
    "Card",
    "ClassView",
    "ClassesPage",
    "CompareLayerPage",
    "ComparePage",
    "Control",
    "DiagnosisPage",
    "EvidenceView",
    "Example",
    "FindingView",
    "HitView",
    "ImageUnit",
    "ImageView",
    "ImagesPage",
    "KindView",
    "LabelCount",
    "Lanes",
    "LayerChangeView",
    "LayerPage",
    "LayerView",
    "MapChangeView",
    "MapView",
    "MapsPage",
    "Near",
    "NetworkPage",
    "Page",
    "Pick",
    "PlainPage",
    "ProbeLayer",
    "ProbePage",
    "RulesView",
    "Run",
    "Scale",
    "Side",
    "SiteView",
    "Sprite",
    "StepView",
    "Unseen",
    "WallPage",
    "Wire",
]

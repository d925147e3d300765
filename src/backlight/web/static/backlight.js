/* Pages without this file are complete. It shows one map of a page at a time, loads sheets when they are near, sorts and
   searches, keeps the tray, and answers keys. A plain deferred script without fetch, so that it works from file://.
   What is worth a link lives in the hash: #m66&view=overlay&pin=conv1:3,conv1:7. */
var backlight = (function () {
  "use strict";
  var doc = document, root = doc.documentElement;
  root.classList.add("js");
  function $(selector, element) { return (element || doc).querySelector(selector); }
  function $$(selector, element) { return Array.prototype.slice.call((element || doc).querySelectorAll(selector)); }
  function on(element, type, call) { if (element) element.addEventListener(type, call); }

  /* ---- the hash: an anchor, then key=value ---- */
  function state() {
    var out = { anchor: "" };
    location.hash.slice(1).split("&").forEach(function (part, i) {
      var at = part.indexOf("=");
      try {
        if (at > 0) out[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1));
        else if (!i) out.anchor = decodeURIComponent(part);
      } catch (_) { /* a broken escape in a link is no state */ }
    });
    return out;
  }
  function text(values) {
    var parts = values.anchor ? [values.anchor] : [];
    Object.keys(values).forEach(function (key) {
      if (key !== "anchor" && values[key]) parts.push(key + "=" + encodeURIComponent(values[key]).replace(/%2C/g, ",").replace(/%3A/g, ":"));
    });
    return parts.length ? "#" + parts.join("&") : "";
  }
  function keep(key, value) {
    var values = state();
    values[key] = value;
    history.replaceState(null, "", text(values) || location.pathname + location.search);
    carry(doc);
  }
  /* links inside the site take the view and the pins along; each keeps its own anchor */
  function carry(element) {
    var values = state();
    $$("a[href*='.html']", element).forEach(function (a) {
      var parts = a.getAttribute("href").split("#"), anchor = (parts[1] || "").split("&")[0];
      if (anchor.indexOf("=") >= 0) anchor = "";
      a.setAttribute("href", parts[0] + text({ anchor: anchor, view: values.view, scale: values.scale, pin: values.pin }));
    });
  }

  /* ---- pictures are loaded when they are near ---- */
  var near = "IntersectionObserver" in window && new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      if (!entry.isIntersecting) return;
      near.unobserve(entry.target);
      load(entry.target);
    });
  }, { rootMargin: "900px 0px" });
  function load(svg) {
    $$("image[data-href]", svg).forEach(function (image) { image.setAttribute("href", image.dataset.href); delete image.dataset.href; });
  }
  function watch(element) {
    $$("image[data-href]", element).forEach(function (image) {
      var picture = image.parentNode, outer = picture.parentNode;
      if (outer.tagName === "svg") picture = outer;
      if (near) near.observe(picture); else load(picture);
    });
  }

  /* ---- both, projection, patch, overlay: CSS does the work ---- */
  function view(name) {
    var radio = $("[name=view][value=" + (/^\w+$/.test(name) ? name : "both") + "]");
    if (radio) { radio.checked = true; keep("view", name === "both" ? "" : name); }
  }
  on(doc, "change", function (event) { if (event.target.name === "view") view(event.target.value); });

  /* ---- the scale of projections: each has its own sheets, whose addresses end alike; that of what is not near waits ---- */
  var scales = $$("[name=scale]");
  function end(radio) { return radio.dataset.sheet.slice(radio.dataset.sheet.lastIndexOf("--")).replace(/^--\d+/, ""); }
  function rescale(name) {
    var radio = scales.filter(function (own) { return own.value === name; })[0] || scales[0], ends = scales.map(end);
    if (!radio) return;
    radio.checked = true;
    $("#scale-says").textContent = radio === scales[0] ? "" : radio.parentNode.title;
    $$(".map .projection image").forEach(function (image) {
      var waits = "href" in image.dataset, own = waits ? image.dataset.href : image.getAttribute("href"), parts = /^(.*--\d+)(-.*)$/.exec(own);
      if (!parts || ends.indexOf(parts[2]) < 0) return;
      if (waits) image.dataset.href = parts[1] + end(radio); else image.setAttribute("href", parts[1] + end(radio));
    });
    keep("scale", radio === scales[0] ? "" : radio.value);
  }
  on(doc, "change", function (event) { if (event.target.name === "scale") rescale(event.target.value); });

  /* ---- one map of a page at a time ---- */
  var maps = $$(".map");
  function show() {
    if (!maps.length) return;
    var wanted = state().anchor, map = maps.filter(function (own) { return own.id === wanted; })[0] || maps[0];
    maps.forEach(function (own) { own.classList.toggle("on", own === map); });
    doc.title = $("h1", map).textContent.trim() + " · Backlight";
    watch(map);
    window.scrollTo(0, 0);
    var band = /^(\d+)-(\d+)$/.exec(state().band || ""), all = $$(".band", map);
    if (band && all[band[1]] && all[band[2]]) { from = all[band[1]]; brush(from, all[band[2]]); }
    var range = $("[data-steps] input", map), step = state().step;
    if (range) { range.value = /^\d+$/.test(step || "") ? step : range.max; at(range); }
  }

  /* ---- a layer: the cards of further pages, sort, filter, search ---- */
  var grid = $("#grid"), order = $("#sort"), field = $("#search"), strong = $("#only-strong");
  var waiting = $$("[data-script]").map(function (link) { return link.dataset.script; }), pages = {}, expected = 2;
  function next() {
    if (!waiting.length) return false;
    var script = doc.createElement("script");
    script.src = waiting.shift();
    doc.head.append(script);
    return true;
  }
  function cards(page, drawn) {
    pages[page] = drawn;
    while (pages[expected]) {
      var template = doc.createElement("template");
      template.innerHTML = pages[expected].join("");
      delete pages[expected];
      expected += 1;
      var fragment = template.content, added = $$(".card", fragment);
      grid.append(fragment);
      added.forEach(function (card) { carry(card); watch(card); });
    }
    pins();
    if (changed() || !loading()) { if (!next()) arrange(); }
  }
  function changed() { return (order && order.value !== "channel") || (field && field.value) || (strong && strong.checked); }
  function loading() {
    var end = grid.getBoundingClientRect().bottom;
    return end > window.innerHeight + 1500;
  }
  function arrange() {
    if (!grid || !order) return;
    var down = order.value[0] === "-", key = order.value.replace("-", ""), shown = 0;
    var words = field.value.toLowerCase().split(/\s+/).filter(Boolean), all = $$(".card", grid);
    all.sort(function (a, b) { return (down ? -1 : 1) * (a.dataset[key] - b.dataset[key]) || a.dataset.channel - b.dataset.channel; });
    all.forEach(function (card) {
      var own = card.dataset.text.toLowerCase(), is = !(strong && strong.checked && card.dataset.strong === "0") && words.every(function (word) {
        return /^\d+$/.test(word) ? card.dataset.channel === word : own.indexOf(word) >= 0;
      });
      card.hidden = !is;
      shown += is;
      grid.append(card);
    });
    $("#shown").textContent = shown === all.length ? "" : shown + " of " + all.length;
    $("#empty").hidden = shown > 0;
    keep("sort", order.value === "channel" ? "" : order.value); keep("q", words.join(" ")); keep("strong", strong && strong.checked ? "1" : "");
  }
  function rearrange() { if (changed() && next()) return; arrange(); }
  if (grid) {
    $$(".pages").forEach(function (nav) { if (waiting.length) nav.classList.add("gathered"); });
    on(order, "change", rearrange); on(strong, "change", rearrange); on(field, "input", rearrange);
    on($("#clear"), "click", function () { field.value = ""; if (strong) strong.checked = false; arrange(); });
    on(window, "scroll", function () { if (waiting.length && expected === nextPage() && !loading()) next(); });
  }
  function nextPage() { return $$("[data-script]").length + 2 - waiting.length; }

  /* ---- an image: pointing at a unit draws what it sees, and its projection there ---- */
  function point(event) {
    var link = event.target.closest && event.target.closest("[data-shows]");
    if (!link) return;
    var section = link.closest(".image");
    $$(".seen-by", section).forEach(function (unit) {
      var is = unit.dataset.unit === link.dataset.shows;
      unit.classList.toggle("on", is);
      if (is) load(unit);
    });
  }
  on(doc, "mouseover", point); on(doc, "focusin", point);

  /* ---- bands: dragging over the bars' examples, or arrows (Shift widens), shows a band large ---- */
  var from = null, dragging = false;
  function brush(first, last) {
    var list = first.closest("[data-bands]"), all = $$(".band", list), box = list.nextElementSibling;
    var low = Math.min(all.indexOf(first), all.indexOf(last)), high = Math.max(all.indexOf(first), all.indexOf(last));
    box.textContent = "";
    all.forEach(function (band, i) {
      var is = i >= low && i <= high;
      band.setAttribute("aria-pressed", String(is));
      if (!is) return;
      load($(".patch", band)); load($(".projection", band));
      box.append(element("figure", "", [element("span", "pair", [$(".patch", band).cloneNode(true), $(".projection", band).cloneNode(true)]), element("figcaption", "", [$(".edge", band).textContent])]));
    });
    keep("band", low + "-" + high);
  }
  on(doc, "pointerdown", function (event) {
    var band = event.target.closest(".band");
    if (band) { from = band; dragging = event.pointerType === "mouse"; brush(from, band); }
  });
  on(doc, "pointerover", function (event) {
    var band = dragging && event.target.closest && event.target.closest(".band");
    if (band && from && band.parentNode.parentNode === from.parentNode.parentNode) brush(from, band);
  });
  on(window, "pointerup", function () { dragging = false; });
  on(doc, "click", function (event) {
    var band = event.detail === 0 && event.target.closest(".band");
    if (band) { from = band; brush(band, band); }
  });
  function step(event) {
    var band = event.target.closest(".band"), all = band ? $$(".band", band.closest("[data-bands]")) : [], at = all.indexOf(band);
    var next = all[at + (event.key === "ArrowLeft" ? -1 : 1)];
    if (!band || !/^Arrow(Left|Right)$/.test(event.key)) return false;
    if (next) {
      next.focus();
      if (!event.shiftKey) from = next; else if (all.indexOf(from) < 0) from = band;
      brush(from, next);
      event.preventDefault();
    }
    return true;
  }

  /* ---- the steps of a training: the slider shows one large ---- */
  function at(range) {
    var box = range.closest("[data-steps]"), all = $$(".film li", box), own = all[range.value], frame = $(".frame", box);
    if (!own) return;
    all.forEach(function (step) { step.setAttribute("aria-current", String(step === own)); });
    load($(".projection", own));
    frame.textContent = "";
    frame.append($(".projection", own).cloneNode(true), element("figcaption", "", [own.dataset.says]));
    range.setAttribute("aria-valuetext", own.dataset.says);
    keep("step", range.value === range.max ? "" : range.value);
  }
  on(doc, "input", function (event) { if (event.target.closest("[data-steps]")) at(event.target); });
  on(doc, "click", function (event) {
    var own = event.target.closest(".film li"), range = own && $("input", own.closest("[data-steps]"));
    if (range) { range.value = $$("li", own.parentNode).indexOf(own); at(range); }
  });

  /* ---- the wall ---- */
  on($("#zoom"), "input", function (event) { $("#wall").className = "tiles z" + event.target.value; });

  /* ---- every map: the tray and the search ---- */
  var known = null;
  function units(layers, rows) {
    known = { layers: layers, rows: rows, by: {} };
    rows.forEach(function (row) { known.by[row[0]] = row; });
    tray();
    find();
  }
  function svg(kind, href, row) {
    var place = row[6], small = known.layers[row[1]][2], space = "http://www.w3.org/2000/svg", out = doc.createElementNS(space, "svg");
    out.setAttribute("class", kind + (small ? " squares" : ""));
    out.setAttribute("viewBox", place.slice(3, 5).concat(place[5], place[5]).join(" "));
    out.setAttribute("role", "img");
    out.setAttribute("aria-label", kind + " of map " + row[2]);
    var image = doc.createElementNS(space, "image");
    image.dataset.href = href;
    image.setAttribute("width", place[1]); image.setAttribute("height", place[2]);
    out.append(image);
    return out;
  }
  function element(tag, kind, children) {
    var out = doc.createElement(tag);
    if (kind) out.className = kind;
    (children || []).forEach(function (child) { out.append(child); });
    return out;
  }
  function card(row) {
    var pair = row[6].length ? element("span", "pair", [svg("projection", row[6][0], row), svg("patch", row[7], row)]) : element("span", "void", ["never active"]);
    var pics = element("a", "pics", [pair]), name = element("a", "", [row[2] + " of " + known.layers[row[1]][0]]), pin = element("button", "pin");
    pics.href = name.href = row[3];
    pics.setAttribute("aria-label", "Map " + row[2]);
    pin.type = "button"; pin.dataset.pin = row[0];
    pin.setAttribute("aria-label", "Pin map " + row[2]); pin.setAttribute("aria-pressed", "false");
    var out = element("article", "card", [pics, element("p", "cap", [element("b", "", [name]), pin])]);
    out.append(element("p", "note", ["strongest " + Number(row[4].toPrecision(4)).toLocaleString("en") + ", active in " + Math.round(100 * row[5]) + " % of the images"]));
    return out;
  }
  function fill(box, rows) {
    box.textContent = "";
    rows.forEach(function (row) { box.append(card(row)); });
    carry(box); watch(box); pins();
  }
  function pinned() { return (state().pin || "").split(",").filter(Boolean); }
  function pins() {
    var own = pinned(), count = $(".tray-link .count");
    count.hidden = !own.length; count.textContent = own.length;
    $$("[data-pin]").forEach(function (button) { button.setAttribute("aria-pressed", String(own.indexOf(button.dataset.pin) >= 0)); });
  }
  function pin(id) {
    var own = pinned(), at = own.indexOf(id);
    if (at < 0) own.push(id); else own.splice(at, 1);
    keep("pin", own.join(","));
    pins();
    tray();
  }
  function tray() {
    var box = $("#tray");
    if (!box || !known) return;
    var rows = pinned().map(function (id) { return known.by[id]; }).filter(Boolean);
    fill(box, rows);
    $("#tray-empty").hidden = rows.length > 0;
    $("#unpin").hidden = !rows.length;
  }
  function find() {
    var input = $("#search-all");
    if (!input || !known) return;
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean), most = 120;
    var rows = words.length ? known.rows.filter(function (row) {
      var layer = known.layers[row[1]][0].toLowerCase(), all = layer + " " + row[8].join(" ").toLowerCase(), numbers = [String(row[2])].concat(layer.split(/[^a-z0-9]+/));
      return words.every(function (word) { return /^\d+$/.test(word) ? numbers.indexOf(word) >= 0 : all.indexOf(word) >= 0; });
    }) : [];
    $("#found").textContent = words.length ? (rows.length > most ? "the first " + most + " of " + rows.length + " maps" : rows.length + " map" + (rows.length === 1 ? "" : "s")) : "";
    keep("q", input.value.trim());
    fill($("#results"), rows.slice(0, most));
  }
  on($("#search-all"), "input", find);

  on(doc, "click", function (event) {
    var button = event.target.closest("[data-pin]");
    if (button) { event.preventDefault(); pin(button.dataset.pin); }
    if (event.target.closest("[data-help]")) $("#help").showModal();
    if (event.target.id === "unpin") { keep("pin", ""); pins(); tray(); }
  });

  /* ---- keys ---- */
  function columns(items) {
    var top = items[0].getBoundingClientRect().top, n = 0;
    while (n < items.length && Math.abs(items[n].getBoundingClientRect().top - top) < 2) n += 1;
    return Math.max(n, 1);
  }
  function move(event) {
    var group = event.target.closest(".grid, .tiles, .hits, .units"), items = group ? $$("a.pics, a.t", group).filter(function (a) { return a.offsetParent; }) : [];
    var at = items.indexOf(event.target);
    if (at < 0) return false;
    var step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(items), ArrowDown: columns(items) }[event.key];
    if (items[at + step]) { items[at + step].focus(); event.preventDefault(); }
    return true;
  }
  function click(selector) {
    var scope = maps.filter(function (map) { return map.classList.contains("on"); })[0] || doc, link = $(selector, scope) || $(selector);
    if (link) link.click();
  }
  on(doc, "keydown", function (event) {
    var target = event.target, key = event.key;
    if (key === "Escape" && target.type === "search") { target.value = ""; target.dispatchEvent(new Event("input")); target.blur(); return; }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && !/^(radio|checkbox)$/.test(target.type)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return;
    if (/^Arrow/.test(key)) {
      if (target.type === "radio" || step(event) || move(event)) return;
      if (key === "ArrowLeft") click("[rel=prev]");
      if (key === "ArrowRight") click("[rel=next]");
      return;
    }
    var names = ["both", "projection", "patch", "overlay"];
    if (names[key - 1]) view(names[key - 1]);
    else if (key === "p") {
      var own = target.closest(".card") || maps.filter(function (map) { return map.classList.contains("on"); })[0];
      if (own && $("[data-pin]", own)) pin($("[data-pin]", own).dataset.pin);
    } else if (key === "/") {
      var input = field || $("#search-all");
      event.preventDefault();
      if (input) input.focus(); else click("[data-search]");
    } else if (key === "u") click("[data-up]");
    else if (key === "?") $("#help").showModal();
  });

  /* ---- begin ---- */
  var first = state();
  if (first.view) view(first.view);
  if (first.scale) rescale(first.scale);
  if (order && first.sort) order.value = first.sort;
  if (field && first.q) field.value = first.q;
  if (strong) strong.checked = Boolean(first.strong);
  if ($("#search-all")) $("#search-all").value = first.q || "";
  if (grid && changed()) rearrange();
  carry(doc);
  pins();
  if (maps.length) show(); else watch(doc);
  on(window, "hashchange", function () { show(); pins(); tray(); var own = state(); if (own.view) view(own.view); rescale(own.scale); });
  return { cards: cards, units: units, state: state, keep: keep, element: element, all: $$ };
})();

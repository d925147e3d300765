/* The probe: an image goes to the server, jobs are asked for and polled, and what they find is shown. Only served pages
   have it. What is shown lives in the hash: #LAYER:CHANNEL&image=ID&at=ROW,COL. */
(function () {
  "use strict";
  var doc = document;
  function $(id) { return doc.getElementById(id); }
  function on(target, type, call) { target.addEventListener(type, call); }
  var element = backlight.element, all = backlight.all;
  var box = $("probe"), layers = $("layer"), jobs = {}, image = null, unit = null;

  /* ---- asking the server ---- */
  function ask(method, path, body, name) {
    var headers = { "X-Backlight": "probe" };
    if (name) headers["X-Name"] = encodeURIComponent(name);
    return fetch(path, { method: method, body: body, headers: headers }).then(function (answer) {
      return answer.json().catch(function () { return {}; }).then(function (found) {
        if (!answer.ok) throw new Error(found.problem || "the server answered " + answer.status);
        return found;
      });
    }, function () { throw new Error("the server does not answer; is it still running?"); });
  }
  function say(text) { $("said").textContent = text; }
  function fail(error) { say(error.message); }

  /* ---- jobs: one of each slot at a time; a newer one stops the older ---- */
  function run(slot, words, asked, show) {
    stop(slot);
    var job = jobs[slot] = { id: null, over: false, row: row(words, function () { stop(slot); }, slot) };
    say("");
    ask("POST", box.dataset.jobs, JSON.stringify(asked)).then(function (found) {
      job.id = found.id;
      if (job.over) quit(job); else poll(job, slot, show, 60);
    }).catch(function (error) { end(job, slot); fail(error); });
  }
  function row(words, stopped, slot) {
    var bar = element("progress"), button = element("button", "", ["Stop"]), item = element("li", "", [element("span", "", [words]), bar, button]);
    button.type = "button";
    bar.setAttribute("aria-label", words);
    on(button, "click", stopped);
    item.dataset.slot = slot;
    $("jobs").append(item);
    return item;
  }
  function poll(job, slot, show, wait) {
    ask("GET", box.dataset.jobs + "/" + job.id).then(function (state) {
      if (job.over && state.status !== "done") { if (state.status === "running") again(); return; }
      if (state.status === "done") { end(job, slot); show(state.result); return; }
      if (state.status === "failed") { end(job, slot); say(state.message); return; }
      if (state.status === "stopped") { end(job, slot); return; }
      var bar = job.row.querySelector("progress");
      if (state.total) { bar.max = state.total; bar.value = state.done; } else bar.removeAttribute("value");
      job.row.dataset.ahead = state.ahead ? "after " + state.ahead + (state.ahead === 1 ? " other" : " others") : "";
      again();
    }).catch(function (error) { end(job, slot); fail(error); });
    function again() { setTimeout(function () { poll(job, slot, show, Math.min(wait * 1.4, 500)); }, wait); }
  }
  function quit(job) { ask("DELETE", box.dataset.jobs + "/" + job.id).catch(function () {}); }
  function end(job, slot) { job.over = true; job.row.remove(); if (jobs[slot] === job) delete jobs[slot]; }
  function stop(slot) {
    var job = jobs[slot];
    if (!job) return;
    if (job.id) quit(job);
    /* an inversion that is stopped still answers, with its best image so far */
    if (slot !== "invert") end(job, slot); else if (!job.id) end(job, slot);
  }

  /* ---- choosing ---- */
  function option() { return layers.selectedOptions[0]; }
  function keep() {
    backlight.keep("anchor", layers.value + (unit ? ":" + unit.channel : ""));
    backlight.keep("image", image ? image.id : "");
    backlight.keep("at", unit && unit.row !== null ? unit.row + "," + unit.col : "");
  }
  function upload(file) {
    if (!file) return;
    if (file.size > +box.dataset.largest) { say("a picture has at most " + box.dataset.largest / 1e6 + " MB here; make it smaller"); return; }
    say("reading " + (file.name || "the picture") + " …");
    ask("POST", box.dataset.images, file, file.name || "pasted picture").then(choose).catch(fail);
  }
  function take(id, then) { ask("GET", box.dataset.images + "/" + encodeURIComponent(id)).then(function (found) { choose(found, then); }).catch(fail); }
  function choose(found, then) {
    image = found;
    say("");
    $("probed").hidden = false;
    $("seen").setAttribute("href", found.picture);
    $("name").textContent = found.name;
    $("note").textContent = found.note;
    if ($("picks")) $("picks").open = false;
    forget();
    look(then);
  }
  function forget() { $("occluded").hidden = true; $("inverted").hidden = true; }
  function look(then) {
    if (!image) return;
    stop("occlude"); stop("invert");
    run("look", "Looking at " + option().dataset.name, { kind: "look", image: image.id, layer: option().dataset.name }, function (found) {
      maps(found);
      if (then) probe(then.channel, then.at);
      else if (found.maps.length) probe(found.maps[0].channel);
    });
  }
  function probe(channel, at) {
    if (!image) return;
    var asked = { kind: "probe", image: image.id, layer: option().dataset.name, channel: channel };
    if (at) { asked.row = at[0]; asked.col = at[1]; }
    run("probe", "Projecting map " + channel, asked, shown);
  }

  /* ---- showing ---- */
  function number(value) { return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3)); }
  function percent(value) { var whole = Math.round(100 * value); return (value > 0 && whole < 1 ? "less than 1" : whole) + " %"; }
  function picture(href, alt) { var out = doc.createElement("img"); out.src = href; out.alt = alt; return out; }
  function hidden(text) { return element("span", "vh", [text]); }
  function place(within, rect) {
    all("[data-box]", within).forEach(function (own) {
      ["y", "x", "height", "width"].forEach(function (key, i) { own.setAttribute(key, rect[i]); });
    });
  }
  function maps(found) {
    $("maps-said").textContent = found.n_active + " of " + found.n_maps + " maps are active in it" + (found.maps.length < found.n_active ? "; the strongest " + found.maps.length + ":" : ".");
    $("maps").textContent = "";
    found.maps.forEach(function (own) {
      var text = element("span", "", [hidden("Map "), element("b", "", [own.channel]), hidden(", strongest activation"), " " + number(own.value)]);
      var button = element("button", "strong-map", [picture(own.active, ""), text]);
      button.type = "button"; button.dataset.channel = own.channel;
      on(button, "click", function () { probe(own.channel); });
      $("maps").append(button);
    });
  }
  function shown(found) {
    var grid = found.grid;
    unit = found;
    stop("occlude"); $("occluded").hidden = true;
    $("unit").hidden = false;
    $("unit-title").textContent = "Map " + found.channel + (found.row === null ? "" : ", row " + found.row + ", column " + found.col);
    $("unit-page").hidden = !found.href;
    if (found.href) $("unit-page").setAttribute("href", found.href);
    $("unit-said").textContent = "Activation " + number(found.value) + (found.value < found.peak ? "; the map’s strongest here is " + number(found.peak) : "; the map’s strongest here") + ". " +
      (found.stronger === null ? "The map is active in none of the atlas’s images." : "In " + percent(found.stronger) + " of the atlas’s images the map is more active than here.");
    $("patch").src = found.patch;
    $("rules").textContent = "";
    found.projections.forEach(function (own) {
      var shows = own.picture ? picture(own.picture, "projection by " + own.rules) : element("p", "void", [own.problem]);
      var caption = own.rules + (own.rules === option().dataset.rules ? ", as in the atlas" : "");
      $("rules").append(element("figure", "", [shows, element("figcaption", "", [caption])]));
    });
    $("superposed-figure").hidden = !found.superposed;
    if (found.superposed) $("superposed").src = found.superposed;
    $("superposed-rules").textContent = option().dataset.rules;
    if (found.light) $("light").setAttribute("href", found.light); else $("light").removeAttribute("href");
    place($("stage"), found.box);
    $("grid").parentNode.hidden = !grid;
    $("occlude").disabled = !grid;
    $("channel").value = found.channel;
    all(".at, #strongest").forEach(function (own) { own.hidden = !grid; });
    if (grid) {
      $("grid").setAttribute("viewBox", "0 0 " + grid[1] + " " + grid[0]);
      $("active").setAttribute("href", found.active);
      $("active").setAttribute("width", grid[1]); $("active").setAttribute("height", grid[0]);
      $("cell").setAttribute("x", found.col); $("cell").setAttribute("y", found.row);
      $("row").max = grid[0] - 1; $("col").max = grid[1] - 1;
      $("row").value = found.row; $("col").value = found.col;
    }
    all(".strong-map").forEach(function (own) { own.setAttribute("aria-pressed", String(+own.dataset.channel === found.channel)); });
    keep();
  }

  /* ---- by hand ---- */
  function inside(event) {
    var rect = event.currentTarget.getBoundingClientRect();
    return [(event.clientY - rect.top) / rect.height, (event.clientX - rect.left) / rect.width];
  }
  function clamp(value, n) { return Math.max(0, Math.min(n - 1, value)); }
  on($("grid"), "click", function (event) {
    var at = inside(event);
    probe(unit.channel, [clamp(Math.floor(at[0] * unit.grid[0]), unit.grid[0]), clamp(Math.floor(at[1] * unit.grid[1]), unit.grid[1])]);
  });
  on($("stage"), "click", function (event) {
    var middles = (option().dataset.middles || "").split(" ").map(Number), view = $("stage").viewBox.baseVal, at = inside(event);
    if (!unit || !unit.grid || middles.length < 4) return;
    probe(unit.channel, [view.height, view.width].map(function (length, i) {
      return clamp(Math.round((at[i] * length - middles[2 * i]) / (middles[2 * i + 1] || 1)), unit.grid[i]);
    }));
  });
  on($("place"), "submit", function (event) {
    event.preventDefault();
    var channel = +$("channel").value, same = unit && channel === unit.channel;
    probe(channel, same && unit.grid && $("row").value !== "" && $("col").value !== "" ? [+$("row").value, +$("col").value] : undefined);
  });
  on($("strongest"), "click", function () { probe(+$("channel").value); });
  on($("occlude"), "click", function () {
    var asked = { kind: "occlude", image: image.id, layer: option().dataset.name, channel: unit.channel, row: unit.row, col: unit.col };
    run("occlude", "Covering for map " + unit.channel, asked, function (found) {
      var figure = $("occluded");
      figure.hidden = false;
      figure.querySelector("image").setAttribute("href", found.picture);
      place(figure, found.box);
      figure.querySelector("figcaption").textContent = "A grey square of " + found.size + " pixels takes up to " + percent(found.largest) + " of the activation, at the box. In colour where covering takes most." +
        (found.agreement === null ? "" : " What the projection shows and what is lost agree by " + found.agreement.toFixed(2) + " (rank correlation; 1 is full agreement).");
    });
  });
  on($("invert"), "click", function () {
    run("invert", "Inverting " + option().dataset.name, { kind: "invert", image: image.id, layer: option().dataset.name }, function (found) {
      var figure = $("inverted");
      figure.hidden = false;
      figure.querySelector("img").src = found.picture;
      figure.querySelector("figcaption").textContent = "Its activations differ from the image’s by " + percent(found.error) + " of their length, after " + found.steps + " steps" + (found.stopped === "interrupted" ? ", stopped early." : ".");
    });
  });
  on(layers, "change", function () { unit = null; forget(); $("unit").hidden = true; keep(); look(); });
  on($("file"), "change", function () { upload($("file").files[0]); $("file").value = ""; });
  on(doc, "paste", function (event) { upload(event.clipboardData && event.clipboardData.files[0]); });
  on(doc, "dragover", function (event) { event.preventDefault(); });
  on(doc, "drop", function (event) { event.preventDefault(); upload(event.dataTransfer.files[0]); });
  on(doc, "click", function (event) {
    var pick = event.target.closest("[data-pick]");
    if (pick) take(pick.dataset.pick);
  });

  /* ---- begin with what the address says ---- */
  var first = backlight.state(), wanted = /^(.*?)(?::(\d+))?$/.exec(first.anchor), at = /^(\d+),(\d+)$/.exec(first.at || "");
  if (/^atlas-\d+$/.test(first.anchor)) first.image = first.anchor;
  else if (wanted[1]) all("option", layers).forEach(function (own) { if (own.value === wanted[1]) own.selected = true; });
  var then = wanted[2] ? { channel: +wanted[2], at: at ? [+at[1], +at[2]] : undefined } : undefined;
  if (first.image) take(first.image, then);
  else if (then && doc.querySelector("[data-pick]")) take(doc.querySelector("[data-pick]").dataset.pick, then);
})();

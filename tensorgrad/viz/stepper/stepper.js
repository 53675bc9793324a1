"use strict";
/* Walks through the events of a computation: first the values of all nodes, then, in reverse and in
   forward mode, the derivatives. What a step shows follows from its number alone (`stateAt`), and
   `Panel.show` changes what is different on the page. Names are text: nothing is parsed as HTML. */

const story = JSON.parse(document.getElementById("story").textContent);
const { nodes, edges, sweeps, formulas } = story;
const out = nodes[nodes.length - 1];
const byId = (id) => document.getElementById(id);

// Elements -----------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const MATHML = "http://www.w3.org/1998/Math/MathML";

function make(tag, attributes = {}, inside = [], space = "http://www.w3.org/1999/xhtml") {
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...[inside].flat());
  return element;
}

/** MathML from its pieces; one that is a text is a number, one that is a list of pieces a row. */
function mathml(number) {
  const piece = formulas[number];
  if (typeof piece === "string") return make("mn", {}, piece, MATHML);
  if (typeof piece[0] !== "string") return make("mrow", {}, piece.map(mathml), MATHML);
  const [tag, inside, attributes] = piece;
  return make(tag, attributes, typeof inside === "string" ? inside : inside.map(mathml), MATHML);
}

/** The sides of an equation; as text, if there are no formulas. */
function equation(event) {
  if (!event.math) return [make("span", { class: "plain" }, event.text)];
  const first = event.edge === undefined ? "=" : "+=", end = event.math.length - 1;
  return event.math.map((piece, i) => {
    const near = event.near && event.near.includes(i) ? "≈" : "=";
    const sign = event.large && i === end ? "∈" : i > 1 || first === "=" ? near : first;
    // hidden from screen readers: to them the text is announced instead
    const side = make("math", { "aria-hidden": "true", displaystyle: "true" }, mathml(piece), MATHML);
    return make("span", {}, i ? [make("span", { "aria-hidden": "true" }, sign), side] : side);
  });
}

/** The colour of an entry: blue above zero, orange below, by its share of the largest. */
function shade(entry, largest) {
  const share = Math.abs(entry) / largest || 0;
  const colour = entry < 0 ? "213 94 0" : "0 114 178";
  return `rgb(${colour} / ${(0.05 + 0.5 * Math.min(share, 1)).toFixed(2)})`;
}

const largestOf = (cells) => Math.max(...cells.flat().map((x) => Math.abs(x)).filter(isFinite), 0);

/** An array as a table of numbers. */
function grid(cells, caption) {
  const largest = largestOf(cells);
  const rows = cells.map((row) => make("tr", {}, row.map((entry) => {
    const cell = make("td", {}, entry);
    cell.style.background = shade(entry, largest);
    return cell;
  })));
  return make("table", { class: "grid" }, [make("caption", {}, caption), make("tbody", {}, rows)]);
}

// What is known after a number of steps ---------------------------------------------------------

const stepsOf = (sweep) => nodes.length + sweep.events.length;

function stateAt(sweep, step) {
  const reverse = sweep === sweeps[0];
  const values = Math.min(step, nodes.length);
  const moves = sweep.events.slice(0, Math.max(0, step - nodes.length));
  const state = {
    known: values, moves: moves.length, walked: 0, labels: new Map(), sums: new Map(), lit: [], litEdges: [],
    event: null, target: null,
  };
  for (const event of moves) {
    const sum = state.sums.get(event.target) || { what: event.what, parts: [] };
    if (event.edge !== undefined) {
      state.walked += 1;
      state.labels.set(event.edge, event.label);
      sum.parts.push(event.part);
    }
    state.sums.set(event.target, Object.assign(sum, { sum: event.sum, box: event.box, cells: event.cells, large: event.large, rough: event.rough }));
  }
  if (moves.length) {
    state.event = moves[moves.length - 1];
    state.target = state.event.target;
    const edge = state.event.edge;
    state.lit = edge === undefined ? [state.target] : edges[edge].ends;
    state.litEdges = edge === undefined ? [] : [edge];
  } else if (values) {
    state.event = nodes[values - 1];
    state.lit = [values - 1];
    state.litEdges = edgesInto[values - 1];
  }
  state.phase = moves.length ? (reverse ? "rev" : "fwd") : "values";
  return state;
}

for (const event of sweeps.flatMap((sweep) => sweep.events)) {
  // what the story leaves out because it follows from the rest
  event.text = event.what + event.text;
  event.box ??= event.what + equals(event) + event.sum;
  if (event.edge === undefined) continue;
  event.part ??= event.sum;
  event.label = [event.local === undefined ? "" : `× ${event.local}`, event.large ? event.part : added(event.part).trim()];
}

const edgesInto = nodes.map(() => []);
edges.forEach((edge, k) => edgesInto[edge.ends[1]].push(k));

function happens(sweep, state) {
  const event = state.event;
  if (!event) return "Step, or Play: first the values, then the derivatives.";
  if (state.phase === "values") {
    return event.kind === "leaf" ? `Values: ${event.name} is given` : `Values: ${event.name} is computed`;
  }
  if (event.edge === undefined) {
    const name = nodes[event.target].name;
    return sweep === sweeps[0] ? `Derivatives start at the output, ${name}` : `Derivatives start at the input, ${name}`;
  }
  const [from, to] = edges[event.edge].ends.map((i) => nodes[i].name);
  return sweep === sweeps[0] ? `Back along an edge, from ${to} to ${from}` : `Along an edge, from ${from} to ${to}`;
}

/** What stands before a number: ≈ if it is rounded. */
function equals({ rough }) {
  return rough ? " ≈ " : " = ";
}

/** ` + 2` or ` − 2` */
function added(part) {
  return part.startsWith("-") ? ` − ${part.slice(1)}` : ` + ${part}`;
}

/** What was added to a sum; of large arrays there are norms, which do not add up. */
function joined({ parts, large }) {
  if (!parts.length) return "the start";
  if (parts.length > 8) return `${parts.length} parts, last ${parts.at(-1)}`;
  return large ? parts.join(" and ") : parts[0] + parts.slice(1).map(added).join("");
}

/** `∂e/∂b = 3 + 2 = 5` */
function summed(sum) {
  const sign = sum.large ? ": " : equals(sum);
  return sum.what + sign + (sum.parts.length > 1 ? joined(sum) + (sum.large ? ", in sum " : sign) : "") + sum.sum;
}

const thousands = (n) => n.toLocaleString("en");
const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

// A panel: one mode ------------------------------------------------------------------------------

class Panel {
  constructor(mode) {
    this.mode = mode;
    this.sweep = mode === "rev" ? sweeps[0] : sweeps[1];
    this.root = byId("panel").content.firstElementChild.cloneNode(true);
    this.root.classList.add(mode);
    this.find = (selector) => this.root.querySelector(selector);
    this.find("h2").textContent = mode === "rev" ? "Reverse mode" : "Forward mode";
    this.find("h2").id = `${mode}-title`;
    this.root.setAttribute("aria-labelledby", `${mode}-title`);
    const title = this.find("h2").textContent;
    this.find(".equation").setAttribute("aria-label", `${title}: formula`);
    this.find(".sums").setAttribute("aria-label", `${title}: sums so far`);
    this.marks = new Map(); // how things stand on the page
    this.chooser();
    this.draw();
    this.list();
    byId("panels").append(this.root);
    this.find(".zoom").addEventListener("click", (click) => this.zoom(click.target.value));
    this.pan();
  }

  /** In forward mode: by which input. */
  chooser() {
    const label = this.find(".by");
    if (this.mode === "rev") return label.remove();
    const select = label.querySelector("select");
    select.append(...sweeps.slice(1).map((sweep, i) => make("option", { value: i + 1 }, nodes[sweep.by].name)));
    select.addEventListener("change", () => {
      this.sweep = sweeps[select.value];
      this.list();
      show(step);
    });
  }

  /** Graphviz's boxes and arrows, with places for what is written there. */
  draw() {
    this.svg = byId("picture").content.firstElementChild.cloneNode(true);
    this.svg.setAttribute("role", "group");
    this.svg.setAttribute("aria-label", `Graph of ${out.name}`);
    const group = (id) => {
      const found = this.svg.querySelector(`#${id}`);
      found.removeAttribute("id");
      return this.svg.appendChild(found); // edges first, nodes above them, as they are computed
    };
    const write = (parent, name, x, y) =>
      parent.appendChild(make("text", { class: name, x, y, "aria-hidden": "true" }, [], SVG));
    this.edges = edges.map(({ at: [x, y] }, k) => {
      const root = group(`e${k}`);
      root.setAttribute("aria-hidden", "true");
      return { root, local: write(root, "local", x, y - 15), adds: write(root, "adds", x, y) };
    });
    this.nodes = nodes.map((node, i) => {
      const root = group(`n${i}`), [x, y] = node.at, lift = node.cells ? this.mapRoom(root) : 0;
      root.setAttribute("role", "button");
      root.setAttribute("tabindex", i ? "-1" : "0");
      root.dataset.node = i;
      const name = write(root, "name", x, y - 20 - lift);
      name.textContent = node.label;
      const maps = node.cells && [0, 1].map((right) => this.map(root, node, right, lift));
      return {
        root, maps, value: write(root, "value", x, y - lift), move: write(root, "move", x, y + 20 - lift),
      };
    });
    const box = this.svg.viewBox.baseVal;
    this.size = [box.width, box.height];
    this.corner = [box.x, box.y];
    const view = this.find(".view");
    view.append(this.svg);
    // listeners on the view: one for focus would make the picture itself a stop of the Tab key
    view.addEventListener("click", (click) => this.pick(click.target));
    view.addEventListener("keydown", (event) => this.key(event));
    for (const kind of ["pointerover", "focusin"]) {
      view.addEventListener(kind, (event) => tip(this, event.target.closest("[data-node]")));
    }
    for (const kind of ["pointerout", "focusout"]) {
      view.addEventListener(kind, (event) => {
        if (!byId("tip").contains(event.relatedTarget)) tip();
      });
    }
  }

  mapRoom(root) {
    const rect = root.firstElementChild;
    return (rect.getAttribute("height") - 74) / 2;
  }

  /** A heat map in a box: of the value on the left, of the derivative on the right. */
  map(root, node, right, lift) {
    const [x, y] = node.at, rows = node.cells.length, columns = node.cells[0].length, side = 7;
    const left = right ? x + 4 : x - 4 - columns * side, top = y + 34 - lift;
    const parent = make("g", { class: "map", "aria-hidden": "true" }, [], SVG);
    const cells = Array.from({ length: rows * columns }, (_, k) => make("rect", {
      x: left + (k % columns) * side, y: top + Math.floor(k / columns) * side, width: side, height: side,
    }, [], SVG));
    parent.append(...cells, make("path", {
      class: "frame", d: `M${left} ${top}h${columns * side}v${rows * side}h${-columns * side}z`,
    }, [], SVG));
    root.append(parent);
    return { parent, cells };
  }

  paint({ parent, cells }, numbers) {
    parent.style.display = numbers ? "" : "none";
    if (!numbers) return;
    const largest = largestOf(numbers);
    numbers.flat().forEach((entry, k) => { cells[k].style.fill = shade(entry, largest); });
  }

  /** A line for each node, in the order in which derivatives reach them. */
  list() {
    const way = nodes[this.sweep.by].about ? "along a direction of" : "by";
    const what = this.mode === "rev" ? `of ${out.name} by each node` : `of each node ${way} ${nodes[this.sweep.by].name}`;
    this.find("h3").textContent = `Sums so far: derivatives ${what}`;
    this.lines = new Map();
    for (const { target, what } of this.sweep.events) {
      if (this.lines.has(target)) continue;
      const parts = [make("span", {}, what), make("span"), make("b")];
      this.lines.set(target, make("li", { hidden: "" }, parts.flatMap((part) => [part, " "])));
    }
    this.find("ol").replaceChildren(...this.lines.values());
    this.marks.clear();
    const count = this.sweep.events.length - 1;
    const { inputs, numbers, forward } = story;
    const many = numbers === inputs ? "" : `the ${thousands(numbers)} numbers of `;
    const one = `One sweep over ${plural(count, "edge")}: `, all = many + plural(inputs, "input");
    const by = nodes[this.sweep.by].about ? `along one direction of ${nodes[this.sweep.by].name}, u` : "by 1 input";
    this.find(".sweep").textContent = this.mode === "rev"
      ? `${one}the derivatives by ${all}.`
      : `${one}${by}.${numbers > 1 ? ` By ${all}: ${thousands(numbers)} sweeps, ${thousands(forward)} edges.` : ""}`;
    this.find(".counter span").textContent = `of ${plural(count, "edge")} touched`;
  }

  /** Do `write` if `mark`, which says how something stands, is not what it was. */
  changed(where, mark, write) {
    if (this.marks.get(where) === mark) return;
    this.marks.set(where, mark);
    write();
  }

  /** Show how things stand after `step` steps. */
  show(step) {
    const state = this.state = stateAt(this.sweep, step);
    const mark = (sum, ...more) => `${sum ? sum.parts.length : ""} ${more}`; // parts are only added
    this.nodes.forEach((element, i) => {
      const sum = state.sums.get(i), known = i < state.known, lit = state.lit.includes(i);
      this.changed(element, mark(sum, known, lit), () => this.node(i, sum, known, lit));
    });
    this.edges.forEach((element, k) => {
      const lit = state.litEdges.includes(k), [local, adds] = state.labels.get(k) || ["", ""];
      this.changed(element, mark(null, lit, adds, state.phase), () => {
        const kind = adds ? " walked" : lit ? " used" : "";
        element.root.setAttribute("class", `edge${kind}${lit ? " lit" : ""}`);
        element.local.textContent = local;
        element.adds.textContent = adds;
      });
    });
    for (const [i, line] of this.lines) {
      const sum = state.sums.get(i), lit = i === state.target;
      this.changed(line, mark(sum, lit), () => this.line(line, sum, lit));
    }
    this.find(".counter b").textContent = state.walked;
    this.changed(this.root, `${state.known} ${state.moves} ${step >= stepsOf(this.sweep)}`, () => this.card(state.event, state));
  }

  node(i, sum, known, lit) {
    const { root, value, move, maps } = this.nodes[i], node = nodes[i];
    const kinds = ["node", node.kind, known ? "known" : "unknown", sum && "moving", lit && "lit"];
    root.setAttribute("class", kinds.filter(Boolean).join(" "));
    const told = known ? node.text : `${node.label}, not computed yet`;
    root.setAttribute("aria-label", sum ? `${told}; ${summed(sum)}` : told);
    value.textContent = known ? node.box : "";
    move.textContent = sum ? sum.box : "";
    if (!maps) return;
    this.paint(maps[0], known && node.cells);
    this.paint(maps[1], sum && sum.cells);
  }

  line(line, sum, lit) {
    line.hidden = !sum;
    line.className = lit ? "lit" : "";
    if (!sum) return;
    const sign = sum.large ? "" : equals(sum).trimStart(), several = sum.parts.length > 1;
    line.children[1].textContent = several ? sign + joined(sum) : sum.parts.length ? "" : "the start";
    line.children[2].textContent = (several && sum.large ? "in sum " : sign) + sum.sum;
  }

  /** The formula of the step, and the sum that it adds to. */
  card(event, state) {
    const done = state.event && step >= stepsOf(this.sweep);
    const length = event ? event.text.length : 0;
    this.find(".card").className = `card ${state.phase}${length > 110 ? " longest" : length > 55 ? " long" : ""}`;
    this.find(".happens").textContent = happens(this.sweep, state);
    this.find(".equation").replaceChildren(...(event ? equation(event) : []));
    this.find(".result").replaceChildren(...(event && event.cells ? [grid(event.cells, event.what || event.name)] : []));
    const note = this.find(".note");
    const sum = state.target === null ? null : state.sums.get(state.target);
    note.replaceChildren();
    if (sum && sum.parts.length) {
      note.append("So far ", make("b", {}, summed(sum)), ". ");
    }
    if (event && event.choice) note.append(`A choice: ${event.choice}. `);
    if (done) note.append("That was the last step.");
  }

  /** Bring what is lit into sight. */
  follow() {
    const view = this.find(".view"), { lit } = this.state;
    const line = this.lines.get(this.state.target), sums = this.find(".sums");
    if (line) {
      const [top, bottom] = [line.offsetTop, line.offsetTop + line.offsetHeight];
      if (top < sums.scrollTop || bottom > sums.scrollTop + sums.clientHeight) sums.scrollTop = top - 40;
    }
    if (!lit.length) return;
    const margin = 60, [width, height] = [view.clientWidth, view.clientHeight];
    const places = lit.map((i) => this.place(i));
    const xs = places.map(([x]) => x), ys = places.map(([, y]) => y);
    const seen = Math.min(...xs) > view.scrollLeft + margin && Math.max(...xs) < view.scrollLeft + width - margin
      && Math.min(...ys) > view.scrollTop + margin && Math.max(...ys) < view.scrollTop + height - margin;
    if (seen) return;
    const [x, y] = Math.max(...xs) - Math.min(...xs) > width || Math.max(...ys) - Math.min(...ys) > height
      ? this.place(this.state.target ?? lit[0])
      : [(Math.min(...xs) + Math.max(...xs)) / 2, (Math.min(...ys) + Math.max(...ys)) / 2];
    view.scrollTo({ left: x - width / 2, top: y - height / 2, behavior: playing ? "instant" : "auto" });
  }

  /** Where the middle of a node is in the scrolled picture. */
  place(i) {
    return [0, 1].map((k) => (nodes[i].at[k] - this.corner[k]) * this.scale);
  }

  resize(scale) {
    this.scale = Math.min(Math.max(scale, 0.1), 4);
    this.svg.style.width = `${this.size[0] * this.scale}px`;
    this.svg.style.height = `${this.size[1] * this.scale}px`;
  }

  get whole() {
    const view = this.find(".view");
    return Math.min(view.clientWidth / this.size[0], view.clientHeight / this.size[1]);
  }

  /** All of the picture; or, with `readable`, a part of it if all would be too small to read. */
  fit(readable = false) {
    if (!this.find(".view").clientWidth) return;
    this.resize(readable && this.whole < 0.55 ? 0.85 : Math.min(this.whole, 1.6));
    this.follow();
  }

  zoom(how) {
    if (!how) return;
    if (how === "fit") return this.fit();
    const view = this.find(".view"), before = this.scale;
    const middle = [view.scrollLeft + view.clientWidth / 2, view.scrollTop + view.clientHeight / 2];
    this.resize(this.scale * (how === "in" ? 1.25 : 0.8));
    const ratio = this.scale / before;
    view.scrollTo({
      left: middle[0] * ratio - view.clientWidth / 2, top: middle[1] * ratio - view.clientHeight / 2, behavior: "instant",
    });
  }

  /** The mouse drags the picture, and its wheel changes the size with Ctrl; fingers scroll anyway. */
  pan() {
    const view = this.find(".view");
    let from = null;
    view.addEventListener("pointerdown", (down) => {
      if (down.pointerType === "mouse" && down.button === 0) {
        from = { x: down.clientX + view.scrollLeft, y: down.clientY + view.scrollTop };
      }
    });
    addEventListener("pointermove", (move) => {
      if (!from) return;
      const [left, top] = [from.x - move.clientX, from.y - move.clientY];
      // a hand that trembles clicks all the same
      if (Math.hypot(left - view.scrollLeft, top - view.scrollTop) > 4) view.classList.add("moved");
      if (view.classList.contains("moved")) [view.scrollLeft, view.scrollTop] = [left, top];
    });
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => {
        from = null;
        setTimeout(() => view.classList.remove("moved"));
      });
    }
    view.addEventListener("wheel", (wheel) => {
      if (!wheel.ctrlKey && !wheel.metaKey) return;
      wheel.preventDefault();
      this.zoom(wheel.deltaY < 0 ? "in" : "out");
    }, { passive: false });
  }

  pick(element) {
    const found = element.closest("[data-node]");
    if (found && !this.find(".view").classList.contains("moved")) jump(Number(found.dataset.node), this);
  }

  key(event) {
    if (!event.target.dataset.node || event.ctrlKey || event.metaKey || event.altKey) return;
    const i = Number(event.target.dataset.node);
    const near = { ArrowUp: i - 1, ArrowDown: i + 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") jump(i, this);
    else if (near !== undefined) this.focus(Math.min(Math.max(near, 0), nodes.length - 1));
    else if ("+=".includes(event.key)) this.zoom("in");
    else if (event.key === "-") this.zoom("out");
    else if (event.key === "0") this.zoom("fit");
    else return;
    event.preventDefault();
  }

  focus(i) {
    this.nodes.forEach(({ root }, k) => root.setAttribute("tabindex", k === i ? "0" : "-1"));
    this.nodes[i].root.focus();
  }
}

// What hangs on a node -----------------------------------------------------------------------------

function tip(panel, element) {
  const box = byId("tip");
  box.hidden = !element;
  if (!element) return;
  const i = Number(element.dataset.node), node = nodes[i], known = i < panel.state.known;
  const sum = panel.state.sums.get(i);
  const lines = [make("p", {}, known ? node.text : node.label), make("p", { class: "of" }, known ? node.about || "" : "not computed yet")];
  if (sum) lines.push(make("p", {}, summed(sum)));
  const grids = [];
  if (known && node.cells) grids.push(grid(node.cells, node.name));
  if (sum && sum.cells) grids.push(grid(sum.cells, sum.what));
  box.replaceChildren(...lines, make("div", { class: "grids" }, grids));
  const rect = element.getBoundingClientRect(), { offsetWidth: width, offsetHeight: height } = box;
  const below = rect.bottom + height < innerHeight ? rect.bottom : Math.max(8, rect.top - height);
  box.style.left = `${Math.min(Math.max(8, rect.left + rect.width / 2 - width / 2), innerWidth - width - 8)}px`;
  box.style.top = `${below}px`;
}
byId("tip").addEventListener("pointerleave", () => tip());

// Stepping -------------------------------------------------------------------------------------------

let step = 0, playing = 0;

const panels = [new Panel("rev"), ...(sweeps.length > 1 ? [new Panel("fwd")] : [])];
const view = () => document.body.dataset.view;
const visible = () => panels.filter((panel) => view() === "both" || view() === panel.mode);
const lastStep = () => Math.max(...visible().map((panel) => stepsOf(panel.sweep)));

function show(to) {
  const last = lastStep();
  step = Math.min(Math.max(to, 0), last);
  tip();
  for (const panel of visible()) {
    panel.show(step);
    panel.follow();
  }
  byId("line").max = last;
  byId("line").value = step;
  byId("where").textContent = `Step ${step} of ${last}`;
  byId("line").setAttribute("aria-valuetext", `Step ${step} of ${last}`);
  byId("first").disabled = byId("back").disabled = !step;
  byId("last").disabled = byId("next").disabled = step === last;
  if (!playing) say();
  if (playing && step === last) pause();
}

/** To those who listen: what is to be seen, when it stands still. */
function say() {
  const told = visible().map((panel) => {
    const { event } = panel.state;
    const mode = visible().length > 1 ? `${panel.find("h2").textContent}: ` : "";
    return mode + happens(panel.sweep, panel.state) + (event ? `: ${event.text}` : "");
  });
  byId("said").textContent = `Step ${step} of ${lastStep()}. ${[...new Set(told)].join(". ")}`;
}

/** To the next step that changes node `i`, or the first that does. */
function jump(i, panel) {
  pause();
  const moves = panel.sweep.events.flatMap((event, k) => (event.target === i ? [nodes.length + k + 1] : []));
  const all = [i + 1, ...moves];
  show(all.find((k) => k > step) ?? all[0]);
}

function pause() {
  if (!playing) return;
  cancelAnimationFrame(playing);
  playing = 0;
  delete byId("play").dataset.on;
  byId("play").lastElementChild.textContent = "Play";
  say();
}

function play() {
  if (step >= lastStep()) show(0);
  let due = performance.now();
  const frame = (now) => {
    playing = requestAnimationFrame(frame);
    if (now < due) return;
    due = Math.max(due + 1000 / Number(byId("speed").value), now - 1000);
    show(step + 1);
  };
  playing = requestAnimationFrame(frame);
  byId("play").dataset.on = "";
  byId("play").lastElementChild.textContent = "Pause";
}

const actions = {
  first: () => { pause(); show(0); },
  back: () => { pause(); show(step - 1); },
  play: () => (playing ? pause() : play()),
  next: () => { pause(); show(step + 1); },
  last: () => { pause(); show(lastStep()); },
};
for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
byId("line").addEventListener("input", () => { pause(); show(Number(byId("line").value)); });

byId("jump").append(make("option", { value: "" }, "a node"), ...nodes.map((node, i) => make("option", { value: i }, node.name)));
byId("jump").addEventListener("change", (change) => {
  if (change.target.value !== "") jump(Number(change.target.value), visible()[0]);
});

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    tip();
    document.querySelector(".help").open = false;
  }
  const where = event.target;
  if (where.matches("select, input[type=radio]")) return;
  const region = where.closest(".equation, .sums"); // what can be scrolled is scrolled
  if (region && region.scrollWidth > region.clientWidth + 1 && event.key.startsWith("Arrow")) return;
  const keys = { ArrowRight: "next", ArrowLeft: "back", Home: "first", End: "last", " ": "play" };
  const action = keys[event.key];
  if (!action || (event.key === " " && where.matches("button, summary"))) return;
  event.preventDefault();
  actions[action]();
});

for (const radio of document.querySelectorAll("[name=view]")) {
  if (radio.value !== "rev" && panels.length === 1) radio.disabled = true;
  radio.addEventListener("change", () => {
    document.body.dataset.view = radio.value;
    show(step);
    for (const panel of visible()) panel.fit(true);
  });
  // who chose with the mouse goes on stepping with the arrows
  radio.parentElement.addEventListener("click", (click) => {
    if (click.detail) setTimeout(() => radio.blur());
  });
}

let waiting = 0, wide = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === wide) return; // an address bar that hides is no reason to undo a zoom
  wide = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => visible().forEach((panel) => panel.fit(true)), 100);
});
if (nodes.some((node) => node.cells)) document.body.dataset.arrays = "";
show(0);
for (const panel of visible()) panel.fit(true);

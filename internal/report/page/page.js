(async () => {
'use strict';
const byId = id => document.getElementById(id);
const el = (name, attrs = {}, ...kids) => {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...kids);
  return e;
};
const ns = 'http://www.w3.org/2000/svg';
const sv = (name, attrs, title) => {
  const e = document.createElementNS(ns, name);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  if (title) { const t = document.createElementNS(ns, 'title'); t.textContent = title; e.append(t); }
  return e;
};
const table = byId('matrix'), story = byId('story');
const rows = [...table.tBodies[0].rows];
const clients = [...table.tHead.rows[0].cells].slice(1).map(c => c.textContent);

let data;
try {
  const bytes = Uint8Array.from(atob(byId('data').textContent), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  data = JSON.parse(await new Response(stream).text());
} catch (e) {
  story.hidden = false;
  story.textContent = 'This browser cannot open the timelines: it has no DecompressionStream (' + e.message + ').';
  return;
}
const T = i => data.T[i || 0];

// The matrix is a grid: one cell has the focus order's place, arrow keys move it.
table.setAttribute('role', 'grid');
document.querySelectorAll('.js').forEach(e => e.hidden = false);
let current = null, opened = null;
const usable = td => td && td.cellIndex > 0 && td.className && !td.classList.contains('hid') && !td.parentNode.hidden;
const place = td => { if (current) current.tabIndex = -1; current = td; td.tabIndex = 0; };
rows.forEach(r => [...r.cells].forEach(td => {
  if (td.cellIndex === 0 || !td.className) return;
  td.setAttribute('role', 'gridcell');
  td.tabIndex = -1;
  if (!current) place(td);
}));
const move = (td, dx, dy) => {
  let x = td.cellIndex, y = rows.indexOf(td.parentNode);
  for (;;) {
    x += dx; y += dy;
    const next = rows[y] && rows[y].cells[x];
    if (!next || x < 1) return;
    if (usable(next)) { place(next); next.focus(); next.scrollIntoView({ block: 'nearest', inline: 'nearest' }); return; }
  }
};
table.addEventListener('keydown', e => {
  const td = e.target.closest('td');
  if (!td) return;
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (steps[e.key]) { e.preventDefault(); move(td, ...steps[e.key]); }
  if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); open(td); }
  if (e.key === 'Home' || e.key === 'End') {
    e.preventDefault();
    const all = [...td.parentNode.cells].filter(usable);
    const to = all[e.key === 'Home' ? 0 : all.length - 1];
    if (to) { place(to); to.focus(); }
  }
});
table.addEventListener('click', e => { const td = e.target.closest('td'); if (usable(td)) { place(td); open(td); } });
document.addEventListener('keydown', e => { if (e.key === 'Escape' && !story.hidden) close(); });

function close() {
  story.hidden = true;
  if (opened) { opened.removeAttribute('aria-selected'); place(opened); opened.focus(); }
  opened = null;
  history.replaceState(null, '', location.pathname + location.search);
}

function open(td, round = -1) {
  if (opened) opened.removeAttribute('aria-selected');
  opened = td;
  td.setAttribute('aria-selected', 'true');
  const y = rows.indexOf(td.parentNode), row = data.R[y], client = clients[td.cellIndex - 1];
  const cells = row.e[row.c.indexOf(client)] || [];
  story.replaceChildren();
  story.hidden = false;
  const bar = el('div', { class: 'bar' }, el('h2', {}, T(row.t) + ': ' + client + ' '), el('button', { type: 'button', id: 'close' }, 'Close (Esc)'));
  bar.firstChild.append(el('span', { class: 'v ' + td.className.split(' ')[0] }, td.textContent));
  bar.lastChild.addEventListener('click', close);
  story.append(bar, el('p', { class: 'dim' }, T(row.s)));
  if (row.a && row.a[client]) story.append(el('p', {}, T(row.a[client])));
  if (row.u) story.append(el('p', {}, 'Not finished: ' + T(row.u)));
  if (round < 0) round = Math.max(0, cells.findIndex(c => c.x));
  const c = cells[round];
  if (c && cells.length > 1) {
    const pick = el('select', { 'aria-label': 'Round' });
    cells.forEach((o, i) => pick.append(el('option', { value: i }, 'round ' + data.P[o.p].r + ': ' + o.v + (o.x ? ' !' : ''))));
    pick.value = round;
    pick.addEventListener('change', () => { open(td, +pick.value); story.querySelector('select').focus(); });
    story.append(pick);
  }
  if (c) tell(c);
  history.replaceState(null, '', '#' + y + '.' + td.cellIndex);
  story.focus({ preventScroll: true });
  story.scrollIntoView({ block: 'start' });
}

function tell(c) {
  const play = data.P[c.p];
  if (play.n) story.append(el('p', { class: 'bad' }, 'The timing cannot be trusted: ' + T(play.n)));
  if (c.x) story.append(el('p', { class: 'bad' }, T(c.x)));
  story.append(el('p', { class: 'cause' }, T(c.c)), el('p', { class: 'dim' }, T(c.f)));
  if (c.o) story.append(el('h3', {}, 'Output of the program'), el('pre', {}, c.o.map(T).join('\n')));
  if (!c.y) { story.append(el('p', { class: 'dim' }, 'This report has no events of the play.')); return; }
  draw(play, c.y);
  list(play, c.y);
}

const seconds = t => (t / 100).toFixed(1) + ' s';
// Events of a story and of its play, each with its time.
function eventsOf(play, y) {
  const all = [];
  for (const s of [play.y, y]) { let at = 0; for (const e of s.e || []) { at += e[0]; all.push([at, e[1], e[2], T(e[3])]); } }
  return all;
}
function messages(list) {
  const all = [];
  let at = 0;
  for (let i = 0; i < (list || []).length; i += 2) { at += list[i]; all.push([at, list[i + 1]]); }
  return all;
}
const fates = ['lost', 'acknowledged', 'arrived, not acknowledged'];

function draw(play, y) {
  const width = Math.max(300, Math.min(1500, story.clientWidth - (innerWidth < 600 ? 20 : 34)));
  const left = 10, right = 10, top = 38, laneH = 62, n = play.w.length;
  const end = Math.max(play.d, 100), height = top + n * laneH + 10;
  const x = t => left + (width - left - right) * Math.min(1, Math.max(0, t / end));
  const base = i => top + i * laneH;
  const svg = sv('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Timeline: ' + play.w.map(w => w[0]).join(', ') + '. What it shows is in the list of events below.' });
  (play.s || []).forEach((s, i) => {
    const w = x(s[1]) - x(s[0]);
    svg.append(sv('rect', { x: x(s[0]), y: 0, width: w, height, class: i % 2 ? 'alt' : 'step' }, T(s[2]) + ', ' + seconds(s[0]) + ' to ' + seconds(s[1]) + (s[3] ? ', in vain: ' + T(s[3]) : '')));
    const room = Math.floor(w / 6.5);
    if (room > 4) { const t = sv('text', { x: x(s[0]) + 3, y: 13, class: 't' }); const text = T(s[2]); t.textContent = text.length > room ? text.slice(0, room - 1) + '…' : text; svg.append(t); }
  });
  const raw = end / 100 / Math.max(2, width / 110), mag = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(k => k * mag).find(k => k >= raw) * 100;
  for (let t = 0; t <= end; t += step) {
    svg.append(sv('line', { x1: x(t), x2: x(t), y1: 18, y2: height, class: 'grid' }));
    const label = sv('text', { x: Math.min(x(t) + 2, width - 40), y: 30, class: 't' }); label.textContent = (t / 100).toFixed(step < 100 ? 1 : 0) + ' s'; svg.append(label);
  }
  play.w.forEach((w, i) => {
    const t = sv('text', { x: left, y: base(i) + 13 }); t.textContent = w[0] + (w[1] === w[0] ? '' : ' (' + w[1] + ')'); svg.append(t);
    svg.append(sv('line', { x1: left, x2: width - right, y1: base(i) + 32, y2: base(i) + 32, class: 'grid' }));
  });
  const words = ['connection', 'entry in the connection table', 'fault', 'stands still'];
  const bars = [...(play.y.b || []), ...(y.b || [])].sort((a, b) => b[3] - a[3]);
  for (const [lane, from, to, kind, text] of bars) {
    if (to < 0 || from > end) continue;
    const h = kind >= 2 ? 34 : kind === 1 ? 22 : 14;
    svg.append(sv('rect', { x: x(from), y: base(lane) + 32 - h / 2, width: Math.max(2, x(to) - x(from)), height: h, rx: 3, class: 'b' + kind },
      words[kind] + (T(text) ? ' (' + T(text) + ')' : '') + ', ' + seconds(Math.max(0, from)) + ' to ' + seconds(to)));
  }
  const tick = (lane, up, list, what) => list.forEach(([t, fate]) => {
    if (t < 0 || t > end) return;
    const cx = x(t), cy = base(lane) + (up ? 21 : 43), title = what + ' at ' + seconds(t) + ': ' + (what === 'push' && fate === 1 ? 'arrived' : fates[fate]);
    const d = fate === 0 ? `M${cx - 3} ${cy - 3}l6 6m0 -6l-6 6` : fate === 2 ? `M${cx - 2.5} ${cy}a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0` : `M${cx} ${cy - 4}v8`;
    svg.append(sv('path', { d, class: 'm' + fate }, title));
  });
  tick(0, false, messages(y.m), 'message');
  if (n > 1) tick(n - 1, true, messages(y.u), 'push');
  const shapes = [null, (a, b) => `M${a - 4} ${b + 4}h8l-4 -8z`, (a, b) => `M${a - 3} ${b - 3}h6v6h-6z`, (a, b) => `M${a} ${b - 6}l5 5l-5 5l-5 -5z`, (a, b) => `M${a - 3} ${b - 4}h6l-3 7z`, (a, b) => `M${a - 3} ${b + 3}h6l-3 -7z`, (a, b) => `M${a - 4} ${b - 5}h8l-3 5h3l-7 6l2 -6h-3z`];
  for (const [t, lane, kind, text] of eventsOf(play, y)) {
    if (lane < 0 || kind === 0 || t < 0 || t > end) continue;
    svg.append(sv('path', { d: shapes[kind](x(t), base(lane) + (kind === 4 ? 29 : kind === 5 ? 35 : 32)), class: 'k' + kind }, seconds(t) + ': ' + text));
  }
  const key = ['│ message acknowledged', '○ arrived, not acknowledged', '✕ lost', '▼ ping or heartbeat', '▲ its answer', '■ connection over', '◆ something went wrong', '⚡ fault', '▭ filled: connection · outlined: table entry · dashed: fault'];
  story.append(el('h3', {}, 'Timeline'), svg, el('div', { class: 'key' }, ...key.map(k => el('span', {}, k))));
}

function list(play, y) {
  const all = eventsOf(play, y);
  (play.s || []).forEach(s => all.push([s[0], -1, 0, 'step: ' + T(s[2]) + (s[3] ? ', in vain: ' + T(s[3]) : '')]));
  // Messages that fare alike one after another are one line.
  const runs = (list, lane, what) => {
    let run = null;
    for (const [t, fate] of list) {
      if (run && run.fate === fate) { run.n++; run.to = t; continue; }
      run = { at: t, to: t, n: 1, fate };
      const r = run;
      all.push([t, lane, fate === 0 ? 3 : 0, () => (r.n > 1 ? r.n + ' ' + what + 's until ' + seconds(r.to) : 'one ' + what) + ': ' + (what === 'push' && r.fate === 1 ? 'arrived' : fates[r.fate])]);
    }
  };
  runs(messages(y.m), 0, 'message');
  runs(messages(y.u), play.w.length - 1, 'push');
  all.sort((a, b) => a[0] - b[0]);
  const body = el('tbody');
  for (const [t, lane, kind, text] of all) {
    body.append(el('tr', { class: 'k' + kind }, el('td', {}, seconds(t)), el('td', {}, lane < 0 ? '' : play.w[lane][0]), el('td', {}, typeof text === 'function' ? text() : text)));
  }
  const head = el('thead', {}, el('tr', {}, ...['Time', 'Where', 'What'].map(h => el('th', { scope: 'col' }, h))));
  story.append(el('h3', {}, 'Events'), el('div', { class: 'list', tabindex: '0', role: 'region', 'aria-label': 'Events' }, el('table', { id: 'events' }, head, body)));
}

// Filters.
const filters = byId('filters');
filters.hidden = false;
filters.addEventListener('submit', e => e.preventDefault());
function filter() {
  const family = byId('family').value, verdict = byId('verdict').value, only = byId('unexpected').checked, name = byId('name').value.trim().toLowerCase();
  let cells = 0, plays = 0;
  rows.forEach((r, i) => {
    const play = r.cells[0].textContent.toLowerCase();
    let any = false;
    [...r.cells].forEach((td, k) => {
      if (k === 0 || !td.className) return;
      const fits = (!verdict || td.lastElementChild.textContent.trim() === verdict) && (!only || td.classList.contains('x')) && (!name || play.includes(name) || clients[k - 1].toLowerCase().includes(name));
      td.classList.toggle('hid', !fits);
      if (fits) { any = true; }
    });
    r.hidden = !any || (family !== '' && r.dataset.family !== family);
    if (!r.hidden) { plays++; cells += [...r.cells].filter(usable).length; }
  });
  byId('shown').textContent = cells + ' cells in ' + plays + ' plays';
  if (!usable(current)) { const first = rows.flatMap(r => [...r.cells]).find(usable); if (first) place(first); }
}
filters.addEventListener('input', filter);
filter();
addEventListener('resize', () => { if (opened && !story.hidden) { const svg = story.querySelector('svg'); if (svg) { const y = scrollY; open(opened); scrollTo(0, y); } } });
const [y0, x0] = location.hash.slice(1).split('.').map(Number);
if (rows[y0] && usable(rows[y0].cells[x0])) { place(rows[y0].cells[x0]); open(rows[y0].cells[x0]); }
document.documentElement.dataset.ready = 'true';
})();

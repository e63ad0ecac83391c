import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileTemplate } from '../../../src/cli/template/index.ts';

const data = {
  status: { state: 'CONTAINER_EXITED', exitCode: 3, labels: { b: '2', a: '1' }, none: null, empty: '' },
  items: [
    { id: 'x', ips: ['10.0.0.1', '10.0.0.2'] },
    { id: 'y', ips: [] },
  ],
  ready: true,
};
const render = (template: string) => compileTemplate(template)(data);

describe('a template', () => {
  for (const [template, expected] of [
    ['plain { text }', 'plain { text }'],
    ['{{.status.state}}', 'CONTAINER_EXITED'],
    ['{{ .status.exitCode }}/{{.ready}}', '3/true'],
    ['{{.status.labels}}', 'map[a:1 b:2]'],
    ['{{(index .items 0).ips}}', '[10.0.0.1 10.0.0.2]'],
    ['{{range .items}}{{.id}};{{end}}', 'x;y;'],
    ['{{range .items}}{{range .ips}}{{.}} {{else}}none{{end}}{{end}}', '10.0.0.1 10.0.0.2 none'],
    ['{{range $k, $v := .status.labels}}{{$k}}={{$v}},{{end}}', 'a=1,b=2,'],
    ['{{range $i, $one := .items}}{{$i}}{{$one.id}}{{end}}', '0x1y'],
    ['{{range .items}}{{$.ready}}{{end}}', 'truetrue'],
    ['{{if .ready}}yes{{else}}no{{end}}', 'yes'],
    ['{{if .status.empty}}a{{else if eq .status.exitCode 3}}b{{else}}c{{end}}', 'b'],
    ['{{if and .ready (not .status.none)}}ok{{end}}', 'ok'],
    ['{{if or .status.empty .status.none}}x{{end}}', ''],
    ['{{with .status.labels}}{{.a}}{{end}}', '1'],
    ['{{with .status.none}}x{{else}}y{{end}}', 'y'],
    ['{{with $l := .status.labels}}{{$l.b}}{{end}}', '2'],
    ['{{index .status.labels "a"}}{{index .items 0 "ips" 1}}', '110.0.0.2'],
    ['{{json .status.labels}}', '{"b":"2","a":"1"}'],
    ['{{.status.labels | json | len}}', '17'],
    ['{{len .items}}{{.items | len | printf "%d!"}}', '22!'],
    ['{{printf "%s=%q" .status.state "a"}}', 'CONTAINER_EXITED="a"'],
    ['{{.status.state | lower | title}} {{upper "x"}}', 'Container_exited X'],
    ['a {{- .ready -}} \n b', 'atrueb'],
    ['{{/* nothing */}}x', 'x'],
    ['{{$x := 1}}{{if .ready}}{{$x = 2}}{{end}}{{$x}}', '2'],
    ['{{"}}"}}{{`raw"`}}', '}}raw"'],
    ['{{ne 1 2}}{{lt 1 2}}{{ge "b" "a"}}', 'truetruetrue'],
  ] as const) {
    it(`gives ${JSON.stringify(expected)} for ${template}`, () => assert.equal(render(template), expected));
  }

  for (const [template, message] of [
    ['{{define "x"}}{{end}}', /\{\{define\}\} are not supported/],
    ['{{template "x"}}', /\{\{template\}\} are not supported/],
    ['{{urlquery .ready}}', /function "urlquery" is not supported/],
    ['{{.ready', /has no "\}\}"/],
    ['{{if .ready}}', /has no \{\{end\}\}/],
    ['{{end}}', /without a beginning/],
    ['{{range .items}}{{else}}{{else}}{{end}}', /has no \{\{end\}\}/],
    ['{{.a . b}}', /not understood/],
    ['{{.a | .b}}', /only a function/],
    ['{{(.a}}', /"\)" is missing/],
    ['{{"a}}', /has no "\}\}"|not understood/],
    ['{{.a ; .b}}', /not understood at/],
  ] as const) {
    it(`refuses ${template}`, () => assert.throws(() => compileTemplate(template), message));
  }

  it('says what there is when a key is missing, instead of printing nothing', () => {
    assert.throws(() => render('{{.status.stat}}'), {
      message: 'template: there is no .stat here',
      next: 'there is: .state .exitCode .labels .none .empty',
    });
    assert.throws(() => render('{{.ready.x}}'), /cannot take \.x of true/);
    assert.throws(() => render('{{index .items 9}}'), /index 9 is not in a list of 2/);
    assert.throws(() => render('{{range .ready}}{{end}}'), /range goes over lists and maps/);
  });
});

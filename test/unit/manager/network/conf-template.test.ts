import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, isRpcError } from '../../../../src/grpc/index.ts';
import { fillTemplate } from '../../../../src/manager/network/conf-template.ts';
import { conflistForPodCidr, parsePodCidr } from '../../../../src/manager/network/pod-cidr.ts';

const values = {
  PodCIDR: '10.1.0.0/24',
  PodCIDRRanges: ['10.1.0.0/24', 'fd00:1::/64'],
  Routes: ['0.0.0.0/0', '::/0'],
};
const fill = (template: string) => fillTemplate(template, values);

test('values and loops are filled in as Go does', () => {
  assert.equal(fill('a {{.PodCIDR}} b'), 'a 10.1.0.0/24 b');
  assert.equal(fill('{{ $.PodCIDR }}'), '10.1.0.0/24');
  assert.equal(fill('{{range .Routes}}<{{.}}>{{end}}'), '<0.0.0.0/0><::/0>');
  assert.equal(
    fill('{{range $r := .Routes}}<{{$r}} {{$.PodCIDR}}>{{end}}'),
    '<0.0.0.0/0 10.1.0.0/24><::/0 10.1.0.0/24>',
  );
  assert.equal(
    fill('{{range $i, $c := .PodCIDRRanges}}{{if $i}}, {{end}}{"subnet": "{{$c}}"}{{end}}'),
    '{"subnet": "10.1.0.0/24"}, {"subnet": "fd00:1::/64"}',
  );
  assert.equal(fill('{{range $i, $c := .Routes}}{{$i}}{{else}}none{{end}}'), '01');
  assert.equal(fill('x  {{- if .PodCIDR -}}  y  {{- end }} z{{/* note */}}'), 'xy z');
});

test('an empty list takes the other branch', () => {
  assert.equal(fillTemplate('{{range .Routes}}x{{else}}none{{end}}', { ...values, Routes: [] }), 'none');
  assert.equal(fillTemplate('{{if .PodCIDR}}yes{{else}}no{{end}}', { ...values, PodCIDR: '' }), 'no');
});

for (const [template, message] of [
  ['{{.Secret}}', /there is no \.Secret/],
  ['{{printf "%s" .PodCIDR}}', /is not understood/],
  ['{{.PodCIDR | quote}}', /is not understood/],
  ['{{if .PodCIDR}}x', /has no \{\{end\}\}/],
  ['x{{end}}', /without a beginning/],
  ['{{$x}}', /no variable \$x/],
  ['{{range .PodCIDR}}{{end}}', /that is no list/],
  ['{{.}}', /is no text/],
  ['{{.constructor}}', /there is no \.constructor/],
] as const) {
  test(`${template} is refused clearly`, () => assert.throws(() => fill(template), message));
}

const containerdStyle = `{
  "name": "pods", "cniVersion": "1.0.0",
  "plugins": [{ "type": "bridge", "ipam": { "type": "host-local",
    "ranges": [{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$range}}"}]{{end}}],
    "routes": [{{range $i, $route := .Routes}}{{if $i}}, {{end}}{"dst": "{{$route}}"}{{end}}] } }]
}`;

test('a template made for containerd gives a dual-stack configuration', () => {
  const text = conflistForPodCidr(containerdStyle, 't', parsePodCidr('10.1.0.0/24, fd00:1::/64'));
  const { plugins } = JSON.parse(text) as { plugins: [{ ipam: object }] };
  assert.deepEqual(plugins[0].ipam, {
    type: 'host-local',
    ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00:1::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  });
});

test('a template whose outcome is no configuration is refused with its name', () => {
  assert.throws(
    () => conflistForPodCidr('{"name": "{{.PodCIDR}}"}', '/etc/berth/template', ['10.1.0.0/24']),
    (error) => isRpcError(error, Code.FailedPrecondition) && error.message.includes('/etc/berth/template'),
  );
});

test('a pod CIDR that is none is refused', () => {
  for (const wrong of ['10.1.0.0', '10.1.0.0/24,', 'x', '10.1.0.0/24"}', '10.1.0.0/24;fd00::/64']) {
    assert.throws(
      () => parsePodCidr(wrong),
      (error) => isRpcError(error, Code.InvalidArgument),
      wrong,
    );
  }
});

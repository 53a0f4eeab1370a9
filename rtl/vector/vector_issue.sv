// What an instruction with its operands asks of the vector unit under vl and vtype: which unit, how many elements, which
// words, how fast its progress shows. Combinational. What no unit executes, or what the specification reserves, is illegal.
module vector_issue
  import potluck_isa_pkg::*;
  import potluck_core_pkg::*;
  import potluck_vector_control_pkg::*;
  import fp_pkg::*;
  import mxdotp_pkg::*;
  import vector_unit_pkg::*;
#(
  parameter int unsigned IntegerLanes = 1
) (
  input  logic [31:0]  word_i,
  input  op_e          op_i,
  input  logic [63:0]  a_i,         // rs1, or the address of an access
  input  logic [63:0]  b_i,         // rs2
  input  logic [63:0]  fs1_i,
  input  logic [63:0]  fs2_i,
  input  logic [63:0]  fs3_i,
  input  logic [13:0]  fcsr_i,
  input  logic [1:0]   vxrm_i,
  input  logic         partway_i,   // vstart is not 0
  input  count_t       vl_i,
  input  logic [8:0]   vtype_i,
  input  logic         vill_i,
  input  id_t          id_i,

  output logic         illegal_o,
  output instruction_t instruction_o,
  output footprint_t   footprint_o
);

  localparam int unsigned LogWord = $clog2(WordBytes);
  localparam int unsigned LogInteger = $clog2(8 * IntegerLanes);

  control_t known;
  logic mx_valid, mx_illegal, mx_quad, mx_scalar;
  logic [4:0] mx_vd, mx_s1, mx_s2, mx_s3, mx_s4;
  elem_fmt_e mx_elements;
  fp_fmt_e mx_accumulator;
  rm_e mx_rm;

  assign known = control(op_i);

  mxdotp_decoder u_mxdotp (
    .word_i,
    .fcsr_i,
    .valid_o   (mx_valid),
    .illegal_o (mx_illegal),
    .quad_o    (mx_quad),
    .scalar_o  (mx_scalar),
    .vd_o      (mx_vd),
    .s1_o      (mx_s1),
    .s2_o      (mx_s2),
    .s3_o      (mx_s3),
    .s4_o      (mx_s4),
    .elem_fmt_o(mx_elements),
    .acc_fmt_o (mx_accumulator),
    .rm_o      (mx_rm)
  );

  // Binary logarithm of an operand's bytes, in steps of an eighth of SEW; negative and above 3 where it is illegal.
  logic [1:0] sew;
  assign sew = vtype_i[4:3];

  function automatic logic signed [3:0] width_of(input eew_e eew, input logic [1:0] of_sew);
    case (eew)
      EEW_EIGHTH:    return signed'({2'b0, of_sew}) - 4'sd3;
      EEW_QUARTER:   return signed'({2'b0, of_sew}) - 4'sd2;
      EEW_HALF:      return signed'({2'b0, of_sew}) - 4'sd1;
      EEW_DOUBLE:    return signed'({2'b0, of_sew}) + 4'sd1;
      EEW_QUADRUPLE: return signed'({2'b0, of_sew}) + 4'sd2;
      EEW_E8:        return 4'sd0;
      EEW_E16:       return 4'sd1;
      EEW_E32:       return 4'sd2;
      EEW_E64:       return 4'sd3;
      EEW_MASK:      return 4'sd0;
      default:       return signed'({2'b0, of_sew});
    endcase
  endfunction

  logic signed [3:0] vd_width, vs2_width, vs1_width, widest;
  logic memory, store, mask_result, is_mask_work, is_mx;

  assign memory       = known.unit == UNIT_VLSU;
  assign store        = known.store;
  assign mask_result  = known.vd == EEW_MASK;
  assign is_mx        = known.work == WORK_MXDOTP;
  assign is_mask_work = known.vs2 == EEW_MASK && known.unit == UNIT_VFU;
  assign vd_width     = width_of(known.vd, sew);
  assign vs2_width    = width_of(known.vs2, sew);
  assign vs1_width    = width_of(known.vs1, sew);

  always_comb begin
    widest = 4'sd0;
    if (known.vd != EEW_NONE && known.vd != EEW_MASK && !known.element0) widest = vd_width;
    if (known.vs2 != EEW_NONE && known.vs2 != EEW_MASK && vs2_width > widest) widest = vs2_width;
    if (known.vs1 != EEW_NONE && known.vs1 != EEW_MASK && !known.element0 && vs1_width > widest) widest = vs1_width;
    if (known.vd == EEW_NONE && known.unit == UNIT_SLIDE) widest = vs2_width;
    if (is_mask_work) widest = 4'sd3;
  end

  logic slides, gathers, from_element0, rounds_here;

  // Elements.
  logic [9:0] whole_count;
  logic [3:0] lmul_shift;  // binary logarithm of LMUL, plus three
  count_t count, vlmax;

  assign whole_count = 10'((32'(known.whole) * (VlenBits / 8)) >> vd_width[1:0]);
  assign lmul_shift  = 4'(vtype_i[2:0] ^ 3'b100) - 4'd1;

  always_comb begin
    count = vl_i;
    if (known.mask_access) count = (vl_i + count_t'(7)) >> 3;
    if (is_mask_work) count = vl_i;
    if (known.whole != '0) count = whole_count;
    if (known.unit == UNIT_SLIDE && known.element0) count = (vl_i == '0) ? '0 : count_t'(1);
    if (known.work == WORK_TO_X || known.work == WORK_TO_F) count = count_t'(1);
  end

  // Operands.
  logic [63:0] scalar;
  logic [63:0] unboxed;
  always_comb begin
    case (sew)
      2'd0, 2'd1: unboxed = (&fs1_i[63:16]) ? fs1_i : 64'h7e00;
      2'd2:    unboxed = (&fs1_i[63:32]) ? fs1_i : 64'h7fc0_0000;
      default: unboxed = fs1_i;
    endcase
    case (known.second)
      SECOND_X:     scalar = a_i;
      SECOND_F:     scalar = unboxed;
      SECOND_BF16:  scalar = (&fs1_i[63:16]) ? fs1_i : 64'h7fc0;
      SECOND_RAW_F: scalar = fs1_i;
      SECOND_IMM:   scalar = {{59{word_i[19]}}, word_i[19:15]};
      SECOND_UIMM:  scalar = {59'd0, word_i[19:15]};
      default:      scalar = '0;
    endcase
    if (memory) scalar = a_i;
  end

  logic unmasked;
  assign unmasked = ~(known.maskable & ~word_i[25]);

  function automatic word_t word_of(input logic [4:0] register_number);
    return {register_number, {$clog2(WordsPerRegister) {1'b0}}};
  endfunction

  // A scalar FP instruction is what its vector form does with one element.
  scalar_form_t form;
  logic form_from_x, form_to_x;
  logic [2:0] form_rounding;
  assign form          = scalar_form(op_i);
  assign form_from_x   = facts(op_i).rs1;
  assign form_to_x     = facts(op_i).rd;
  assign form_rounding = (word_i[14:12] == 3'd7) ? fcsr_i[7:5] : word_i[14:12];

  function automatic logic [63:0] opened(input logic [63:0] value, input logic [1:0] width, input logic bfloat);
    case (width)
      2'd1: return (&value[63:16]) ? value : (bfloat ? 64'h7fc0 : 64'h7e00);
      2'd2: return (&value[63:32]) ? value : 64'h7fc0_0000;
      default: return value;
    endcase
  endfunction

  always_comb begin
    instruction_o              = '0;
    instruction_o.id           = id_i;
    instruction_o.op           = op_i;
    instruction_o.control      = known;
    instruction_o.unmasked     = unmasked;
    instruction_o.sew          = is_mask_work ? 2'd3 : sew;
    instruction_o.vd_width     = mask_result ? vs2_width[1:0] : vd_width[1:0];
    instruction_o.vs2_width    = vs2_width[1:0];
    instruction_o.vs1_width    = vs1_width[1:0];
    instruction_o.widest       = widest[1:0];
    instruction_o.count        = count;
    instruction_o.vlmax        = vlmax;
    instruction_o.vd           = word_of(word_i[11:7]);
    instruction_o.vs2          = word_of(word_i[24:20]);
    instruction_o.vs1          = word_of(word_i[19:15]);
    instruction_o.rd           = word_i[11:7];
    instruction_o.scalar       = (memory || slides) ? scalar : splat(scalar, vs1_width[1:0]);
    instruction_o.stride       = b_i;
    instruction_o.rm           = rm_e'(fcsr_i[7:5]);
    instruction_o.vxrm         = vxrm_i;
    instruction_o.alternate    = (op_i == OP_VFWCVT_H_B) ? ~fcsr_i[9] : vtype_i[8];  // E5M2
    instruction_o.elements     = mx_elements;
    instruction_o.to_x         = known.work == WORK_TO_X || known.work == WORK_POPCOUNT || known.work == WORK_FIRST;
    if (is_mask_work) begin
      instruction_o.vd_width  = 2'd3;
      instruction_o.vs2_width = 2'd3;
      instruction_o.vs1_width = 2'd3;
    end
    if (is_mx) begin
      instruction_o.vs1       = word_of(mx_s1);
      instruction_o.vs2       = word_of(mx_s2);
      instruction_o.vs3       = word_of(mx_s3);
      instruction_o.vs4       = word_of(mx_s4);
      instruction_o.vs1_width = 2'd3;
      instruction_o.scalar    = fs1_i;
      instruction_o.stride    = fs3_i;
    end
    if (form.valid) begin
      instruction_o.op               = form.op;
      instruction_o.control          = '0;
      instruction_o.control.unit     = UNIT_VFU;
      instruction_o.control.floating = 1'b1;
      instruction_o.scalar_float     = 1'b1;
      instruction_o.to_x             = form_to_x;
      instruction_o.unmasked         = 1'b1;
      instruction_o.sew              = form.sew;
      instruction_o.widest           = 2'd3;
      instruction_o.count            = count_t'(1);
      instruction_o.result_width     = form.result;
      instruction_o.first            = form_from_x ? a_i : opened(fs1_i, form.source, form.bfloat);
      instruction_o.scalar           = opened(fs2_i, form.sew, 1'b0);
      instruction_o.stride           = opened(fs3_i, form.sew, 1'b0);
      if (rounds_here) instruction_o.rm = rm_e'(form_rounding);
    end
  end

  // Comparisons, signs, minima have an operation where others have a rounding mode.
  always_comb begin
    case (form.op)
      OP_VMFEQ_VV, OP_VMFLT_VV, OP_VMFLE_VV, OP_VFCLASS_V, OP_VFSGNJ_VV, OP_VFSGNJN_VV, OP_VFSGNJX_VV, OP_VFMIN_VV,
      OP_VFMAX_VV: rounds_here = 1'b0;
      default: rounds_here = form.valid;
    endcase
  end

  // Words. Of a group that is shorter than a register only those that elements lie in.
  logic [3:0] step_bytes;  // binary logarithm of the bytes of widest elements in a step

  assign step_bytes = (known.unit == UNIT_VFU && !known.floating) ? 4'(LogInteger) : 4'(LogWord);

  function automatic span_t span_of(
    input logic valid, input word_t first, input count_t elements, input logic [1:0] width, input logic [3:0] shift,
    input logic at_end
  );
    logic [13:0] bytes;
    bytes = 14'(elements) << width;
    span_of.valid  = valid && elements != '0;
    span_of.first  = first;
    span_of.last   = first + word_t'((bytes - 14'd1) >> LogWord);
    span_of.shift  = shift;
    span_of.at_end = at_end;
  endfunction

  function automatic logic [3:0] shift_of(input logic [3:0] bytes, input logic [1:0] wide, input logic [1:0] width);
    return 4'(LogWord) - (bytes - 4'(wide) + 4'(width));
  endfunction

  count_t bits_as_bytes, vd_count, vs2_count;

  assign slides        = known.work == WORK_UP || known.work == WORK_DOWN;
  assign gathers       = known.work == WORK_GATHER;
  assign from_element0 = known.element0;
  assign bits_as_bytes = (vl_i + count_t'(7)) >> 3;
  assign vlmax         = count_t'((VlenBits << lmul_shift) >> (4'd6 + 4'(sew)));

  always_comb begin
    vd_count  = (mask_result || is_mask_work) ? bits_as_bytes : ((from_element0) ? count_t'(count != '0) : count);
    vs2_count = (known.vs2 == EEW_MASK) ? bits_as_bytes : ((slides || gathers) ? vlmax : count);
    footprint_o.vd = span_of(known.vd != EEW_NONE && !store, instruction_o.vd, vd_count,
                             (mask_result || is_mask_work) ? 2'd0 : vd_width[1:0],
                             memory || known.unit == UNIT_SLIDE ? '0
                             : shift_of(step_bytes, widest[1:0], vd_width[1:0]),
                             known.at_end | gathers | (known.unit == UNIT_SLIDE && known.element0));
    footprint_o.sources    = '0;
    footprint_o.sources[0] = span_of(known.vs2 != EEW_NONE, instruction_o.vs2, vs2_count,
                                     (known.vs2 == EEW_MASK) ? 2'd0 : vs2_width[1:0],
                                     known.unit == UNIT_SLIDE ? '0
                                     : shift_of(step_bytes, widest[1:0], instruction_o.vs2_width),
                                     slides | gathers | memory | (known.vs2 == EEW_MASK));
    footprint_o.sources[1] = span_of(known.vs1 != EEW_NONE, instruction_o.vs1,
                                     (known.vs1 == EEW_MASK) ? bits_as_bytes
                                     : (from_element0 ? count_t'(1) : count),
                                     (known.vs1 == EEW_MASK) ? 2'd0 : vs1_width[1:0],
                                     known.unit == UNIT_SLIDE ? '0
                                     : shift_of(step_bytes, widest[1:0], instruction_o.vs1_width),
                                     gathers | from_element0 | (known.vs1 == EEW_MASK));
    footprint_o.sources[2] = span_of(!unmasked || known.mask_data, '0, bits_as_bytes, 2'd0, '0, 1'b1);
    if (store) begin
      footprint_o.sources[3] = span_of(1'b1, instruction_o.vd, count, vd_width[1:0], '0, 1'b0);
    end
    if (is_mx) begin
      footprint_o.sources[3] = span_of(!mx_scalar, instruction_o.vs3, count, 2'd0, 4'd3, 1'b0);
      footprint_o.sources[4] = span_of(1'b1, instruction_o.vs4, count, 2'd0, 4'd3, 1'b0);
    end
    if (form.valid) footprint_o = '0;
    footprint_o.unchained = known.unchained;
    footprint_o.credit    = '0;
    if (known.unit == UNIT_VFU) begin
      footprint_o.credit = 3'(known.credits) + (known.floating ? 3'd0 : 3'(LogWord - LogInteger));
    end
  end

  // Reserved: a width outside 8 to 64 bits, groups of more than eight registers or that begin at another place than a multiple of
  // their length, what needs vtype without one.
  function automatic logic misplaced(
    input logic named, input logic [4:0] register_number, input logic signed [3:0] width, input logic [3:0] lmul,
    input logic [1:0] of_sew
  );
    logic signed [5:0] emul;  // binary logarithm
    logic [4:0] below;
    emul  = signed'({2'b0, lmul}) - 6'sd3 + 6'(width) - signed'({4'b0, of_sew});
    below = (emul > 6'sd0) ? 5'((6'd1 << emul[2:0]) - 6'd1) : '0;
    return named && (emul > 6'sd3 || emul < -6'sd3 || width < 4'sd0 || width > 4'sd3 ||
                     (register_number & below) != '0);
  endfunction

  logic reserved;
  always_comb begin
    reserved = known.rounds && fcsr_i[7:5] > RMM;
    if (known.whole == '0 || !memory) reserved |= vill_i;
    if (known.whole == '0) begin
      reserved |= misplaced(known.vd != EEW_NONE && known.vd != EEW_MASK && !known.element0 && !known.mask_access,
                            word_i[11:7], vd_width, lmul_shift, sew);
      reserved |= misplaced(known.vs2 != EEW_NONE && known.vs2 != EEW_MASK && known.unit != UNIT_NONE
                            && !(known.work == WORK_TO_X || known.work == WORK_TO_F), is_mx ? mx_s2 : word_i[24:20],
                            vs2_width, lmul_shift, sew);
      reserved |= misplaced(known.vs1 != EEW_NONE && known.vs1 != EEW_MASK && !known.element0,
                            is_mx ? mx_s1 : word_i[19:15], vs1_width, lmul_shift, sew);
    end else begin
      reserved |= ((5'(known.whole) - 5'd1) & word_i[11:7]) != '0;
    end
    if (is_mx) reserved |= mx_illegal || sew != (mx_quad ? 2'd1 : 2'd2);
  end

  always_comb begin
    if (form.valid) illegal_o = rounds_here && form_rounding > RMM;
    else illegal_o = known.unit == UNIT_NONE || (known.unit != UNIT_VSET && (reserved || partway_i));
  end

  logic unused;
  assign unused = ^{mx_valid, mx_vd, mx_accumulator, mx_rm, vtype_i[7:5]};

endmodule
